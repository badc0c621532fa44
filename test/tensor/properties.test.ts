import fc from 'fast-check'
import { test } from 'tap'
import type { Tensor } from '../../lib/index.js'
import * as p from '../../lib/index.js'
import {
  agrees,
  along,
  at,
  build,
  indices,
  type Pair,
  type Plain,
  valuesOf,
  views,
} from './plain.js'

const runs = { numRuns: 120 }
const ints = (plain: Plain): Tensor =>
  p.Tensor.from({ data: Int32Array.from(plain.values), shape: plain.shape })

/** An axis of a tensor, also counted from the end. */
const withAxis = (pairs: fc.Arbitrary<Pair>) =>
  pairs.chain((pair) => {
    const rank = pair.plain.shape.length
    return fc.integer({ min: -rank, max: rank - 1 }).map((axis) => ({
      ...pair,
      axis,
      a: axis < 0 ? axis + rank : axis,
      extent: pair.plain.shape.at(axis) as number,
    }))
  })

/** Some axes of a tensor. */
const withAxes = (pairs: fc.Arbitrary<Pair>) =>
  pairs.chain((pair) =>
    fc
      .subarray(pair.plain.shape.map((_, i) => i))
      .map((axes) => ({ ...pair, axes: axes.length > 0 ? axes : undefined })),
  )

const positive = { minRank: 1, least: 1 }

test('views hold what nested loops find, whatever their strides', async () => {
  fc.assert(
    fc.property(views({ maxRank: 4 }), ({ x, plain }) => {
      const copy = x.clone()
      return (
        agrees(x, plain) &&
        agrees(copy, plain) &&
        copy.contiguous &&
        agrees(x.reshape(-1, 1), { shape: [plain.values.length, 1], values: plain.values }) &&
        agrees(p.Tensor.from(x.toNdarray()), plain)
      )
    }),
    runs,
  )
})

test('casts: what fits comes back, NaN and infinities stay among floats', async () => {
  fc.assert(
    fc.property(
      views(),
      fc.constantFrom('float32', 'float64', 'bfloat16'),
      ({ x, plain }, dtype) => agrees(x.to(dtype), plain) && agrees(x.to(dtype).to(x.dtype), plain),
    ),
    runs,
  )
})

test('select, gather and indexSelect', async () => {
  const picks = withAxis(views(positive)).chain((pair) =>
    fc
      .tuple(fc.array(fc.nat(pair.extent - 1), { maxLength: 5 }), fc.nat(pair.extent - 1))
      .map(([list, one]) => ({ ...pair, list, one })),
  )
  fc.assert(
    fc.property(picks, ({ x, plain, axis, a, extent, list, one }) => {
      const selected = build(plain.shape.toSpliced(a, 1), (i) => at(plain, i.toSpliced(a, 0, one)))
      const rows = build(plain.shape.with(a, list.length), (i) =>
        at(plain, i.with(a, list[i[a] as number] as number)),
      )
      const index = build(
        plain.shape.with(a, 2),
        (i) => (i.reduce((s, v) => s + v, one) * 3) % extent,
      )
      const gathered = build(index.shape, (i) => at(plain, i.with(a, at(index, i))))
      return (
        agrees(x.select(axis, one), selected) &&
        agrees(x.select(axis, one - extent), selected) &&
        agrees(
          x.indexSelect(p.tensor(list, { dtype: 'int32', shape: [list.length] }), axis),
          rows,
        ) &&
        agrees(x.gather(axis, ints(index)), gathered)
      )
    }),
    runs,
  )
})

test('scatter: the last of several wins; scatterAdd sums them', async () => {
  fc.assert(
    fc.property(
      withAxis(views({ ...positive, specials: false })),
      fc.integer({ min: 1, max: 3 }),
      fc.nat(50),
      ({ x, plain, axis, a, extent }, count, seed) => {
        const index = build(
          plain.shape.with(a, count),
          (i) => i.reduce((s, v) => s * 7 + v, seed) % extent,
        )
        const src = build(index.shape, (i) => i.reduce((s, v) => s * 3 + v, 1) % 2)
        const put: Plain = { shape: plain.shape, values: [...plain.values] }
        const sum: Plain = { shape: plain.shape, values: [...plain.values] }
        for (const i of indices(index.shape)) {
          const place = i.with(a, at(index, i))
          const flat = plain.shape.reduce((n, extent, k) => n * extent + (place[k] as number), 0)
          put.values[flat] = at(src, i)
          sum.values[flat] = (sum.values[flat] as number) + at(src, i)
        }
        const source = p.Tensor.from({ data: Float64Array.from(src.values), shape: src.shape }).to(
          x.dtype,
        )
        const added = x.dtype === 'bool' || agrees(x.scatterAdd(axis, ints(index), source), sum)
        return added && agrees(x.scatter(axis, ints(index), source), put) && agrees(x, plain)
      },
    ),
    runs,
  )
})

test('masks: where, maskedFill, maskedSelect, nonzero', async () => {
  fc.assert(
    fc.property(views(), fc.nat(9), ({ x, plain }, seed) => {
      const on = build(plain.shape, (i) => (i.reduce((s, v) => s * 5 + v, seed) % 3 === 0 ? 1 : 0))
      const mask = ints(on).to('bool')
      const filled = build(plain.shape, (i) => (at(on, i) ? 1 : at(plain, i)))
      const chosen = build(plain.shape, (i) => (at(on, i) ? at(plain, i) : 0))
      const kept = plain.values.filter((_, i) => on.values[i])
      const places = [...indices(plain.shape)].filter((i) => at(plain, i) !== 0).flat()
      return (
        agrees(p.where(mask, x, 0), chosen) &&
        agrees(x.maskedFill(mask, 1), filled) &&
        agrees(x.maskedSelect(mask), { shape: [kept.length], values: kept }) &&
        `${valuesOf(x.nonzero())}` === `${places}`
      )
    }),
    runs,
  )
})

test('where broadcasts all three', async () => {
  const small = { maxRank: 2, least: 1, dtypes: ['float32', 'float64'] as const }
  fc.assert(
    fc.property(
      views({ ...small, specials: false }),
      views({ ...small, specials: false }),
      (a, b) => {
        const rank = Math.max(a.plain.shape.length, b.plain.shape.length)
        const full = (s: number[]) => [...Array<number>(rank - s.length).fill(1), ...s]
        const [sa, sb] = [full(a.plain.shape), full(b.plain.shape)]
        const fits = sa.every((n, i) => n === sb[i] || n === 1 || sb[i] === 1)
        if (!fits) {
          try {
            p.where(a.x.gt(b.x), a.x, b.x)
            return false
          } catch (error) {
            return error instanceof p.ShapeError
          }
        }
        const shape = sa.map((n, i) => (n === 1 ? (sb[i] as number) : n))
        const of = ({ plain }: Pair, s: number[], i: number[]) =>
          at(
            { shape: s, values: plain.values },
            i.map((v, k) => (s[k] === 1 ? 0 : v)),
          )
        const larger = build(shape, (i) => Math.max(of(a, sa, i), of(b, sb, i)))
        return agrees(p.where(a.x.gt(b.x), a.x, b.x), larger)
      },
    ),
    runs,
  )
})

test('reductions over any axes, kept or not, also of nothing', async () => {
  const reduced = (
    { shape, values }: Plain,
    axes: number[] | undefined,
    f: (list: number[]) => number,
  ) => {
    const gone = axes ?? shape.map((_, i) => i)
    const kept = shape.map((n, i) => (gone.includes(i) ? 1 : n))
    const lists = new Map<string, number[]>()
    for (const i of indices(kept)) lists.set(`${i}`, [])
    for (const i of indices(shape)) {
      lists.get(`${i.map((v, k) => (gone.includes(k) ? 0 : v))}`)?.push(at({ shape, values }, i))
    }
    return {
      whole: { shape: kept, values: [...lists.values()].map(f) },
      short: {
        shape: shape.filter((_, i) => !gone.includes(i)),
        values: [...lists.values()].map(f),
      },
    }
  }
  const add = (list: number[]) => list.reduce((a, b) => a + b, 0)
  const extreme = (pick: (...list: number[]) => number) => (list: number[]) =>
    list.some(Number.isNaN) ? Number.NaN : pick(...list)
  const float = (dtype: string) => dtype === 'float32' || dtype === 'float64'
  fc.assert(
    fc.property(withAxes(views({ maxRank: 4 })), ({ x, plain, axes }) => {
      const same = (y: Tensor, z: Tensor, f: (list: number[]) => number) => {
        const { whole, short } = reduced(plain, axes, f)
        return agrees(y, short) && agrees(z, whole)
      }
      const empty = plain.values.length === 0
      return (
        (x.dtype === 'bfloat16' || same(x.sum(axes), x.sum(axes, true), add)) &&
        same(x.any(axes), x.any(axes, true), (list) => Number(list.some((v) => v !== 0))) &&
        same(x.all(axes), x.all(axes, true), (list) => Number(list.every((v) => v !== 0))) &&
        (empty || same(x.max(axes), x.max(axes, true), extreme(Math.max))) &&
        (empty || same(x.min(axes), x.min(axes, true), extreme(Math.min))) &&
        (!float(x.dtype) ||
          empty ||
          same(x.mean(axes), x.mean(axes, true), (list) =>
            x.dtype === 'float32' ? Math.fround(add(list) / list.length) : add(list) / list.length,
          ))
      )
    }),
    { ...runs, numRuns: 200 },
  )
})

test('argmax and argmin: the first among equals, NaN before all', async () => {
  fc.assert(
    fc.property(withAxis(views(positive)), ({ x, plain, axis, a, extent }) => {
      const first = (better: (v: number, w: number) => boolean) =>
        build(plain.shape.toSpliced(a, 1), (i) => {
          const list = along(i.toSpliced(a, 0, 0), a, extent).map((k) => at(plain, k))
          let best = 0
          for (const [k, v] of list.entries()) {
            const held = list[best] as number
            if (!Number.isNaN(held) && (Number.isNaN(v) || better(v, held))) best = k
          }
          return best
        })
      return (
        agrees(
          x.argmax(axis),
          first((v, w) => v > w),
        ) &&
        agrees(
          x.argmin(axis),
          first((v, w) => v < w),
        )
      )
    }),
    runs,
  )
})

test('running sums, products and extremes', async () => {
  const running = (
    { plain, a, extent }: Pair & { a: number; extent: number },
    f: (x: number, y: number) => number,
  ) =>
    build(plain.shape, (i) =>
      along(i, a, extent)
        .slice(0, (i[a] as number) + 1)
        .map((k) => at(plain, k))
        .reduce(f),
    )
  const extreme = (pick: typeof Math.max) => (v: number, w: number) => pick(v, w)
  fc.assert(
    fc.property(
      withAxis(views({ ...positive, dtypes: ['float32', 'float64', 'int32'] })),
      (pair) => {
        const { x, axis } = pair
        const max = p.cummax(x, axis)
        return (
          agrees(
            x.cumsum(axis),
            running(pair, (v, w) => v + w),
          ) &&
          agrees(
            x.cumprod(axis),
            running(pair, (v, w) => v * w),
          ) &&
          agrees(max.values, running(pair, extreme(Math.max))) &&
          agrees(x.gather(axis, max.indices), running(pair, extreme(Math.max))) &&
          agrees(p.cummin(x, axis).values, running(pair, extreme(Math.min)))
        )
      },
    ),
    runs,
  )
})

test('sort and topk: stable, NaN as the largest', async () => {
  const order = (list: number[], descending: boolean) => {
    const key = (v: number) => (Number.isNaN(v) ? Infinity : v)
    const above = (i: number, k: number) => {
      const [v, w] = [list[i] as number, list[k] as number]
      if (Number.isNaN(v) || Number.isNaN(w))
        return Number(Number.isNaN(v)) - Number(Number.isNaN(w))
      return key(v) === key(w) ? 0 : key(v) > key(w) ? 1 : -1
    }
    return list.map((_, i) => i).sort((i, k) => (descending ? above(k, i) : above(i, k)) || i - k)
  }
  fc.assert(
    fc.property(
      withAxis(views({ ...positive })),
      fc.boolean(),
      fc.nat(9),
      (pair, descending, some) => {
        const { x, plain, axis, a, extent } = pair
        const placed = (count: number, down: boolean) =>
          build(plain.shape.with(a, count), (i) => {
            const list = along(i, a, extent).map((k) => at(plain, k))
            return order(list, down)[i[a] as number] as number
          })
        const taken = (where: Plain) =>
          build(where.shape, (i) => at(plain, i.with(a, at(where, i))))
        const sorted = x.sort(axis, descending)
        const k = some % (extent + 1)
        const top = x.topk(k, axis, descending)
        const [all, first] = [placed(extent, descending), placed(k, descending)]
        return (
          agrees(sorted.indices, all) &&
          agrees(sorted.values, taken(all)) &&
          agrees(x.argsort(axis, descending), all) &&
          agrees(top.indices, first) &&
          agrees(top.values, taken(first))
        )
      },
    ),
    runs,
  )
})

test('pad adds and cuts; unfold slides', async () => {
  const widths = fc.tuple(fc.integer({ min: -1, max: 2 }), fc.integer({ min: -1, max: 2 }))
  fc.assert(
    fc.property(
      withAxis(views({ minRank: 1, least: 2 })),
      widths,
      fc.nat(3),
      ({ x, plain, a, axis, extent }, [before, after], step) => {
        const last = plain.shape.length - 1
        const inside = plain.shape[last] as number
        if (inside + before + after < 0) return true
        const padded = build(plain.shape.with(last, inside + before + after), (i) => {
          const from = (i[last] as number) - before
          return from >= 0 && from < inside ? at(plain, i.with(last, from)) : 1
        })
        const size = Math.min(2, extent)
        const count = Math.floor((extent - size) / (step + 1)) + 1
        const slid = build([...plain.shape.with(a, count), size], (i) =>
          at(plain, i.slice(0, -1).with(a, (i[a] as number) * (step + 1) + (i.at(-1) as number))),
        )
        return (
          agrees(x.pad([before, after], { value: 1 }), padded) &&
          agrees(x.unfold(axis, size, step + 1), slid)
        )
      },
    ),
    runs,
  )
})

test('einsum and matmul are sums of products', async () => {
  const formulas = [
    'ij,jk->ik',
    'ij,jk->ki',
    'ij,kj->ik',
    'bij,bjk->bik',
    'i,j->ij',
    'ij,ij->',
    'ij,ij->ij',
    'ij->ji',
    'ii->i',
    'ij->i',
    'bi,bij->bj',
    'ij,j',
  ]
  const letters = 'bijk'
  fc.assert(
    fc.property(
      fc.constantFrom(...formulas),
      fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3)),
      fc.constantFrom('float32', 'float64', 'int32' as const),
      fc.boolean(),
      fc.nat(99),
      (formula, extents, dtype, turned, seed) => {
        const [left, right] = formula.split('->') as [string, string?]
        const terms = left.split(',')
        const result =
          right ??
          [...new Set(left.replace(',', ''))]
            .filter((c) => left.split(c).length === 2)
            .sort()
            .join('')
        const extent = (c: string) => extents[letters.indexOf(c)] as number
        const operands = terms.map((term, k) =>
          build(
            [...term].map(extent),
            (i) => ((i.reduce((s, v) => s * 5 + v, seed + k) * 7) % 11) - 5,
          ),
        )
        const names = [...new Set(terms.join(''))]
        const sums = new Map<string, number>()
        for (const i of indices([...result].map(extent))) sums.set(`${i}`, 0)
        for (const index of indices(names.map(extent))) {
          const value = (c: string) => index[names.indexOf(c)] as number
          const product = terms.reduce(
            (v, term, k) => v * at(operands[k] as Plain, [...term].map(value)),
            1,
          )
          const place = `${[...result].map(value)}`
          sums.set(place, (sums.get(place) ?? 0) + product)
        }
        const tensors = operands.map(({ shape, values }) => {
          const x = p.Tensor.from({ data: Float64Array.from(values), shape }).to(dtype)
          // The same values behind other strides.
          return turned ? (x.rank < 2 ? x : x.transpose().clone().transpose()) : x
        })
        return agrees(p.einsum(formula, ...tensors), {
          shape: [...result].map(extent),
          values: [...sums.values()],
        })
      },
    ),
    { ...runs, numRuns: 250 },
  )
})
