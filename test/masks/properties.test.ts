import fc from 'fast-check'
import { test } from 'tap'
import { NumericalError, type Tensor } from '../../lib/index.js'
import { Mask, nm, topK } from '../../lib/masks/index.js'
import { agrees, along, at, build, indices, type Pair, type Plain, views } from '../tensor/plain.js'

const runs = { numRuns: 100 }
const ordered = ['float32', 'float64', 'bfloat16', 'int32', 'uint8'] as const

/** The places of the k best scores of a list; of equal ones the first. */
function best(scores: readonly number[], k: number): Set<number> {
  const order = scores
    .map((score, i) => [score, i] as const)
    .sort(([a, i], [b, j]) => (a === b ? i - j : a > b ? -1 : 1))
  return new Set(order.slice(0, k).map(([, i]) => i))
}

const holds = (mask: Mask, plain: Plain) => agrees(mask.toTensor('float64'), plain)

test('topK of views of any strides, by value and magnitude, from above and below', async () => {
  const scores = views({ dtypes: ordered, specials: false }).chain((pair) =>
    fc.record({
      pair: fc.constant(pair),
      k: fc.nat(pair.plain.values.length),
      by: fc.constantFrom('value', 'magnitude'),
      largest: fc.boolean(),
    }),
  )
  fc.assert(
    fc.property(scores, ({ pair: { x, plain }, k, by, largest }) => {
      const of = (v: number) => (largest ? 1 : -1) * (by === 'magnitude' ? Math.abs(v) : v)
      const chosen = best(plain.values.map(of), k)
      let i = 0
      return holds(
        topK(x, { k, by, largest }),
        build(plain.shape, () => Number(chosen.has(i++))),
      )
    }),
    runs,
  )
})

test('topK: a NaN anywhere is refused, infinities are ordered', async () => {
  fc.assert(
    fc.property(views({ dtypes: ['float32', 'float64', 'bfloat16'], least: 1 }), (pair) => {
      const { x, plain } = pair
      const k = Math.ceil(plain.values.length / 2)
      if (!plain.values.some(Number.isNaN)) return topK(x, { k }).count() === k
      try {
        topK(x, { k })
      } catch (error) {
        return error instanceof NumericalError
      }
      return false
    }),
    runs,
  )
})

test('N:M along any axis', async () => {
  // An axis of m entries, or of one where m is 1, is always a whole number of groups.
  const scores = views({ dtypes: ordered, specials: false, minRank: 1, least: 1 }).chain((pair) =>
    fc.nat(pair.plain.shape.length - 1).chain((axis) => {
      const extent = pair.plain.shape[axis] as number
      const divisors = [1, 2, 3, 4].filter((m) => extent % m === 0)
      return fc
        .constantFrom(...divisors)
        .chain((m) => fc.nat(m).map((n) => ({ pair, axis, extent, m, n })))
    }),
  )
  fc.assert(
    fc.property(
      scores,
      fc.constantFrom('value' as const, 'magnitude' as const),
      ({ pair: { x, plain }, axis, extent, m, n }, by) => {
        const expected = build(plain.shape, (index) => {
          const place = index[axis] as number
          const first = place - (place % m)
          const group = along(index, axis, extent)
            .slice(first, first + m)
            .map((i) => at(plain, i))
          const scored = by === 'magnitude' ? group.map(Math.abs) : group
          return Number(best(scored, n).has(place % m))
        })
        return holds(nm(x, n, m, axis, { by }), expected)
      },
    ),
    runs,
  )
})

test('masks of tensors, their logic, and what they leave of a tensor', async () => {
  /** Two tensors of one shape, by the first one's values. */
  const shifted = ({ plain }: Pair) =>
    build(plain.shape, (i) => (i.reduce((a, b) => a * 3 + b, 1) % 3) - 1)
  fc.assert(
    fc.property(views(), (pair) => {
      const { x, plain } = pair
      const other = shifted(pair)
      const [a, b] = [
        Mask.fromTensor(x),
        Mask.fromTensor({ data: Float64Array.from(other.values), shape: other.shape }),
      ]
      const on = (p: Plain, index: number[]) => (at(p, index) !== 0 ? 1 : 0)
      const logic = (f: (a: number, b: number) => number) =>
        build(plain.shape, (i) => f(on(plain, i), on(other, i)))
      const count = [...indices(plain.shape)].filter((i) => on(plain, i)).length
      return (
        a.count() === count &&
        holds(
          a,
          logic((p) => p),
        ) &&
        holds(
          a.not(),
          logic((p) => 1 - p),
        ) &&
        holds(
          a.and(b),
          logic((p, q) => p & q),
        ) &&
        holds(
          a.or(b),
          logic((p, q) => p | q),
        ) &&
        holds(
          a.xor(b),
          logic((p, q) => p ^ q),
        ) &&
        holds(
          a.andNot(b),
          logic((p, q) => p & (1 - q)),
        ) &&
        a.xor(b).xor(b).equals(a) &&
        agrees(
          b.apply(x) as Tensor,
          build(plain.shape, (i) => (on(other, i) ? at(plain, i) : 0)),
        )
      )
    }),
    runs,
  )
})
