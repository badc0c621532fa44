import { test } from 'tap'
import { batches, digits, subset } from '../../lib/data/index.js'
import { ArgumentError, Generator } from '../../lib/index.js'

test('10,000 digits, split the same way every time', async (t) => {
  const { train, test: held } = digits()
  t.equal(train.labels.length, 8000)
  t.equal(held.labels.length, 2000)
  t.same(new Set(train.labels).size, 10)
  t.ok(train.inputs.every(Number.isFinite))
  t.same(digits().test.labels.subarray(0, 20), held.labels.subarray(0, 20))
})

test('batches: every example once, shuffled by seed', async (t) => {
  const data = {
    inputs: Float32Array.from({ length: 20 }, (_, i) => i),
    labels: Int32Array.from({ length: 10 }, (_, i) => i),
    shape: [2],
  }
  const order = (seed: number) =>
    [...batches(data, { batchSize: 3, generator: new Generator(seed) })].flatMap((b) => [
      ...b.targets.data,
    ])
  t.same(
    [...order(1)].sort((a, b) => a - b),
    [...data.labels],
  )
  t.same(order(1), order(1))
  t.notSame(order(1), order(2))
  t.equal([...batches(data, { batchSize: 3, dropLast: true })].length, 3)
  t.throws(() => [...batches(data, { batchSize: 0 })], ArgumentError)
  t.throws(() => subset(data, [10]), ArgumentError)
})
