import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'tap'
import {
  ArgumentError,
  DisposedError,
  FormatError,
  Generator,
  NumericalError,
  randn,
  ShapeError,
  setThreads,
  type Tensor,
  tensor,
  threads,
  zeros,
} from '../../lib/index.js'
import { openSafetensors, saveSafetensors } from '../../lib/io/index.js'
import {
  erk,
  Mask,
  nm,
  packMasks,
  random,
  topK,
  uniform,
  unpackMasks,
} from '../../lib/masks/index.js'
import { allocations } from '../../lib/tensor/storage.js'

const flags = (mask: Mask) => mask.toTensor().data

test('property: topK is a stable sort, in every dtype, scope and direction', async () => {
  const value = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom(-0, Infinity, -Infinity, 0.5),
  )
  fc.assert(
    fc.property(
      fc.array(fc.array(value, { maxLength: 40 }), { minLength: 1, maxLength: 4 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.boolean(),
      fc.constantFrom('value', 'magnitude'),
      fc.constantFrom('float32', 'float64', 'bfloat16'),
      (lists, part, largest, by, dtype) => {
        const all = lists.flat()
        const k = Math.floor(part * all.length)
        const size = (x: number) => (by === 'magnitude' ? Math.abs(x) : x) * (largest ? -1 : 1)
        const order = all
          .map((_, i) => i)
          .sort((a, b) => {
            const [x, y] = [size(all[a] as number), size(all[b] as number)]
            return x < y ? -1 : x > y ? 1 : a - b
          })
        const chosen = new Set(order.slice(0, k))
        const masks = topK(
          lists.map((list) => tensor(list, { dtype })),
          { k, scope: 'global', largest, by },
        )
        const got = masks.flatMap((mask) => [...flags(mask)])
        return got.every((on, i) => (on === 1) === chosen.has(i))
      },
    ),
    { numRuns: 200 },
  )
})

test('topK: per tensor and global, by count and by density', async (t) => {
  const [a, b] = [tensor([3, -5, 1, 0]), tensor([[4, 2]])]
  t.same([...flags(topK(a, { k: 1 }))], [1, 0, 0, 0])
  t.same([...flags(topK(a, { k: 1, by: 'magnitude' }))], [0, 1, 0, 0])
  t.same([...flags(topK(a, { k: 1, largest: false }))], [0, 1, 0, 0])
  t.same(
    topK([a, b], { k: 2, scope: 'global' }).map((mask) => [...flags(mask)]),
    [
      [1, 0, 0, 0],
      [1, 0],
    ],
  )
  t.same(
    topK([a, b], { density: 0.5 }).map((mask) => mask.count()),
    [2, 1],
  )
  t.same(topK(a, { density: 0 }).count(), 0)
  t.same(topK(a, { density: 1 }).count(), 4)
  t.same([...flags(topK({ data: new Float32Array([0, -0, 0]), shape: [3] }, { k: 2 }))], [1, 1, 0])
  t.same([...flags(topK(a.reshape(2, 2).T, { k: 2 }))], [1, 1, 0, 0], 'a strided view')
  t.equal(topK(tensor([]), { k: 0 }).size, 0)
})

test('topK: large, with any number of threads', async (t) => {
  const x = randn([300_000], { generator: new Generator(3) })
  const before = threads()
  setThreads(1)
  const expected = topK(x, { k: 12345, by: 'magnitude' })
  t.equal(expected.count(), 12345)
  const kept = expected.apply(x.abs()).data as Float32Array
  const dropped = expected.not().apply(x.abs()).max().item()
  t.ok(kept.filter((v) => v > 0).every((v) => v >= dropped))
  for (const n of [2, 3, 5]) {
    setThreads(n)
    t.ok(topK(x, { k: 12345, by: 'magnitude' }).equals(expected))
  }
  setThreads(before)
})

test('topK: wrong input', async (t) => {
  const x = tensor([1, 2])
  t.throws(() => topK(x, { k: 3 }), ArgumentError)
  t.throws(() => topK(x, {}), ArgumentError)
  t.throws(() => topK(x, { k: 1, density: 0.5 }), ArgumentError)
  t.throws(() => topK(x, { density: 1.1 }), ArgumentError)
  t.throws(() => topK(x, { k: 1, scope: 'all' as 'global' }), ArgumentError)
  t.throws(() => topK(tensor([1, NaN]), { k: 1 }), NumericalError)
  t.throws(
    () => topK([x, tensor([1], { dtype: 'float64' })], { k: 1, scope: 'global' }),
    ArgumentError,
  )
  t.throws(() => topK(3 as unknown as Tensor, { k: 1 }), ArgumentError)
})

test('nm: two of every four, along any axis', async (t) => {
  const x = tensor([
    [1, -4, 3, 2],
    [0, 0, 0, 0],
    [5, 1, 1, 1],
    [-9, 9, -8, 8],
  ])
  t.same(nm(x, 2, 4).toTensor().toArray(), [
    [0, 0, 1, 1],
    [1, 1, 0, 0],
    [1, 1, 0, 0],
    [0, 1, 0, 1],
  ])
  t.same(nm(x, 2, 4, -1, { by: 'magnitude' }).toTensor().toArray(), [
    [0, 1, 1, 0],
    [1, 1, 0, 0],
    [1, 1, 0, 0],
    [1, 1, 0, 0],
  ])
  t.same(nm(x, 1, 2, 0).toTensor().toArray(), [
    [1, 0, 1, 1],
    [0, 1, 0, 0],
    [1, 0, 1, 0],
    [0, 1, 0, 1],
  ])
  t.throws(() => nm(x, 2, 3), ShapeError)
  t.throws(() => nm(x, 5, 4), ArgumentError)
  t.throws(() => nm(tensor([NaN, 1]), 1, 2), NumericalError)
})

test('property: the algebra of masks is that of sets', async () => {
  const list = fc
    .integer({ min: 0, max: 200 })
    .chain((n) =>
      fc.tuple(
        fc.array(fc.boolean(), { minLength: n, maxLength: n }),
        fc.array(fc.boolean(), { minLength: n, maxLength: n }),
      ),
    )
  const of = (bits: boolean[]) => Mask.fromTensor(tensor(bits.map(Number)))
  fc.assert(
    fc.property(list, ([p, q]) => {
      const [a, b] = [of(p), of(q)]
      const same = (mask: Mask, truth: boolean[]) =>
        mask.equals(of(truth)) && mask.count() === truth.filter(Boolean).length
      const pair = (op: (x: boolean, y: boolean) => boolean) =>
        p.map((x, i) => op(x, q[i] as boolean))
      return (
        same(
          a.and(b),
          pair((x, y) => x && y),
        ) &&
        same(
          a.or(b),
          pair((x, y) => x || y),
        ) &&
        same(
          a.xor(b),
          pair((x, y) => x !== y),
        ) &&
        same(
          a.andNot(b),
          pair((x, y) => x && !y),
        ) &&
        same(
          a.not(),
          p.map((x) => !x),
        ) &&
        a.not().not().equals(a) &&
        a.toTensor().shape[0] === p.length
      )
    }),
  )
})

test('masks and tensors', async (t) => {
  const mask = new Mask([2, 2], Uint8Array.of(0b0110, 0, 0, 0, 0, 0, 0, 0))
  t.same([mask.at(0), mask.at(1), mask.at(3)], [false, true, false])
  t.same(
    mask
      .apply(
        tensor([
          [NaN, 2],
          [3, 4],
        ]),
      )
      .toArray(),
    [
      [0, 2],
      [3, 0],
    ],
  )
  t.same(mask.toTensor('float32').toArray(), [
    [0, 1],
    [1, 0],
  ])
  const p = { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }
  mask.applyInto(p)
  t.same([...p.data], [0, 2, 3, 0])
  t.equal(mask.density(), 0.5)
  t.equal(Mask.full([3]).count(), 3)
  t.throws(() => mask.apply(tensor([1, 2])), ShapeError)
  t.throws(() => mask.and(new Mask([4])), ShapeError)
  t.throws(() => new Mask([2, 2], new Uint8Array(3)), ShapeError)
  t.throws(() => new Mask([3], Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0)), FormatError)
})

test('masks in safetensors come back; what does not fit is refused', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'masks')
  const masks = { a: random([5, 30], 0.3, 1), 'b.weight': Mask.full([0, 3]) }
  const { tensors, metadata } = packMasks(masks)
  const load = () => {
    const file = openSafetensors(path)
    const all = Object.fromEntries(file.names.map((name) => [name, file.read(name)]))
    file.close()
    return unpackMasks(all, file.metadata)
  }
  saveSafetensors(path, { ...tensors, other: tensor([1]) }, metadata)
  const back = load()
  t.same(Object.keys(back), ['a', 'b.weight'])
  t.ok(back['a']?.equals(masks.a) && back['b.weight']?.equals(masks['b.weight']))
  for (const shape of ['[5,31,3]', '[5', '"x"', '[-1]', '[5,29]']) {
    saveSafetensors(path, tensors, { ...metadata, 'mask:a': shape })
    t.throws(load, FormatError, shape)
  }
  saveSafetensors(path, { a: tensor([1]) }, metadata)
  t.throws(load, FormatError)
})

test('random: exact count, seeded, every entry as likely as another', async (t) => {
  t.ok(random([40, 50], 0.25, 7).equals(random([40, 50], 0.25, 7)))
  t.notOk(random([40, 50], 0.25, 7).equals(random([40, 50], 0.25, 8)))
  t.equal(random([40, 50], 0.25, 7).count(), 500)
  t.equal(random([10], 1).count(), 10)
  const seen = new Float64Array(20)
  for (let seed = 0; seed < 1000; seed++) {
    flags(random([20], 0.3, seed)).forEach((on, i) => {
      seen[i] = (seen[i] as number) + on
    })
  }
  // Chi-squared of 20 counts, mean 300, variance 1000·0.3·0.7; 19 degrees: 43.8 at p = 0.001.
  const chi = seen.reduce((sum, x) => sum + (x - 300) ** 2 / 210, 0)
  t.ok(chi < 43.8, `${chi}`)
})

test('property: ERK and uniform meet the budget exactly, ERK in proportion below 1', async () => {
  const shape = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(
      fc.array(shape, { minLength: 1, maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (shapes, density) => {
        const sizes = shapes.map((s) => s.reduce((a, b) => a * b, 1))
        const budget = Math.round(density * sizes.reduce((a, b) => a + b, 0))
        for (const allocate of [erk, uniform]) {
          const densities = allocate(shapes, density)
          const counts = densities.map((d, i) => Math.round(d * (sizes[i] as number)))
          if (counts.reduce((a, b) => a + b, 0) !== budget) return false
          if (densities.some((d) => d < 0 || d > 1)) return false
        }
        // Layers below 1 stand to one another as their scores, within the rounding of one entry.
        const d = erk(shapes, density)
        const scores = shapes.map((s, i) => s.reduce((a, b) => a + b, 0) / (sizes[i] as number))
        const epsilons = d.map((x, i) => [
          (x - 1 / (sizes[i] as number)) / (scores[i] as number),
          (x + 1 / (sizes[i] as number)) / (scores[i] as number),
        ])
        const partial = epsilons.filter((_, i) => (d[i] as number) < 1)
        return (
          Math.max(...partial.map((e) => e[0] as number)) <=
          Math.min(...partial.map((e) => e[1] as number)) + 1e-9
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('ERK: the published example of two layers, one of which is clipped', async (t) => {
  // 3×3: 27 of 1000×1000 + 9 entries at density 1e-3 are wanted by the small layer alone.
  const [small, large] = erk(
    [
      [3, 3],
      [1000, 1000],
    ],
    0.01,
  ) as [number, number]
  t.equal(small, 1)
  t.equal(Math.round(large * 1e6), Math.round(0.01 * 1_000_009) - 9)
  t.throws(() => erk([], 0.5), ArgumentError)
  t.throws(() => erk([[2]], 2), ArgumentError)
})

test('a mask that is disposed gives its memory to the next, unless its bits were seen', async (t) => {
  const [a, b] = [random([100_000], 0.5, 1), random([100_000], 0.5, 2)]
  const truth = a.and(b).toTensor().data
  const first = a.and(b)
  first.dispose()
  first.dispose()
  t.ok(first.disposed)
  const before = allocations()
  const second = a.or(b)
  t.equal(allocations(), before)
  for (const use of [
    () => first.bits,
    () => first.at(0),
    () => first.count(),
    () => first.and(a),
    () => a.and(first),
    () => first.not(),
    () => first.equals(a),
    () => a.equals(first),
    () => first.toTensor(),
    () => first.apply(zeros([100_000])),
    () => packMasks({ first }),
  ]) {
    t.throws(use, DisposedError)
  }
  // A new mask is empty whatever lay in its memory, and what is written over has no old bit left.
  second.dispose()
  t.equal(new Mask([100_000]).count(), 0)
  a.xor(b).dispose()
  t.same(a.and(b).toTensor().data, truth)
  const seen = a.not()
  const { bits } = seen
  const copy = bits.slice()
  seen.dispose()
  a.or(b)
  a.xor(b)
  t.ok(bits.every((byte, i) => byte === copy[i]))
})
