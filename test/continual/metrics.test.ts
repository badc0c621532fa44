import fc from 'fast-check'
import { test } from 'tap'
import { estimate, metricsOf, studentQuantile } from '../../lib/continual/index.js'

test('the figures of a small matrix by hand', (t) => {
  const matrix = [
    [0.9, 0.3, 0.1],
    [0.7, 0.8, 0.4],
    [0.8, 0.5, 0.6],
  ]
  const m = metricsOf(matrix, [0.1, 0.1, 0.2])
  const near = (a: number | null, b: number) => t.ok(Math.abs((a ?? NaN) - b) < 1e-12, `${a} ${b}`)
  near(m.averageAccuracy, 1.9 / 3)
  near(m.averageIncrementalAccuracy, (0.9 + 0.75 + 1.9 / 3) / 3)
  near(m.forgetting, (0.1 + 0.3) / 2)
  near(m.backwardTransfer, (-0.1 - 0.3) / 2)
  near(m.forwardTransfer, (0.2 + 0.2) / 2)
  t.equal(metricsOf(matrix).forwardTransfer, null)
  t.equal(metricsOf([[0.5]]).forgetting, 0)
  t.throws(
    () =>
      metricsOf([
        [0.5, null],
        [null, 0.5],
      ]),
    /matrix\[1\]\[0\]/,
  )
  t.throws(() => metricsOf([]), /matrix/)
  t.end()
})

test('forgetting is never below minus backward transfer', (t) => {
  const row = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(row, { minLength: 4, maxLength: 4 }), (matrix) => {
      const { forgetting, backwardTransfer } = metricsOf(matrix)
      return forgetting >= -backwardTransfer - 1e-12
    }),
  )
  t.end()
})

test('Student’s interval: known points, and its coverage', (t) => {
  // Points of the two-sided 95 % table.
  for (const [freedom, point] of [
    [1, 12.7062],
    [10, 2.2281],
    [11, 2.201],
    [30, 2.0423],
    [100, 1.984],
  ]) {
    t.ok(Math.abs(studentQuantile(freedom as number) - (point as number)) < 2e-4, `${freedom}`)
  }
  t.strictSame(estimate([3]), { mean: 3, interval: null })
  const { mean, interval } = estimate([1, 2, 3])
  t.equal(mean, 2)
  t.ok(Math.abs((interval as number) - 4.30265 / Math.sqrt(3)) < 1e-4)
  t.throws(() => estimate([]), /values/)
  t.end()
})
