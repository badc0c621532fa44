import fc from 'fast-check'
import ndarray from 'ndarray'
import { test } from 'tap'
import * as p from '../../lib/index.js'
import { DisposedError, DTypeError, ShapeError, Tensor, tensor } from '../../lib/index.js'

test('zero-copy from and to ndarray and plain arrays', async (t) => {
  const data = Float32Array.of(1, 2, 3, 4, 5, 6)
  const x = Tensor.from(ndarray(data, [2, 2], [2, 1], 1))
  t.same(x.toArray(), [
    [2, 3],
    [4, 5],
  ])
  t.throws(() => Tensor.from(ndarray(data, [2, 2], [3, 2], 1)), ShapeError)
  const y = Tensor.from({ data, shape: [2, 3] })
  data[0] = 9
  t.equal(y.select(0, 0).select(0, 0).item(), 9)
  t.equal(y.data, data)
  t.equal(y.toNdarray().get(1, 2), 6)
  t.equal(y.T.toNdarray().get(2, 1), 6)
})

test('views share memory; data of what is not contiguous is refused', async (t) => {
  const x = p.arange(6).reshape(2, 3)
  const column = x.select(1, 1)
  column.fill_(7)
  t.same(x.toArray(), [
    [0, 7, 2],
    [3, 7, 5],
  ])
  t.throws(() => column.data, ShapeError)
  t.same(x.slice(1, -2).toArray(), [
    [7, 2],
    [7, 5],
  ])
  t.same(p.flip(x, 1).slice(1, 0, 3, 2).toArray(), [
    [2, 0],
    [5, 3],
  ])
})

test('dtypes: promotion, casts, bfloat16, bool', async (t) => {
  const i = tensor([1, 2, 3], { dtype: 'int32' })
  t.equal(i.add(1).dtype, 'int32')
  t.equal(i.add(0.5).dtype, 'float32')
  t.equal(i.div(2).dtype, 'float32')
  t.equal(i.add(tensor([1, 1, 1], { dtype: 'float64' })).dtype, 'float64')
  t.same(i.gt(1).toArray(), [0, 1, 1])
  t.equal(i.gt(1).dtype, 'bool')
  const b = tensor([1.00390625, -3, 1e30], { dtype: 'bfloat16' })
  t.same((b.toArray() as number[]).slice(0, 2), [1, -3])
  t.equal(b.mul(2).dtype, 'bfloat16')
  t.same(tensor([1.7, -1.7]).to('int32').toArray(), [1, -1])
})

test('scope reuses memory, keeps what is returned, and disposes the rest', async (t) => {
  let inner: Tensor | undefined
  const kept = p.scope(() => {
    inner = p.ones([10])
    return inner.mul(3)
  })
  t.same(kept.sum().item(), 30)
  t.throws(() => inner?.add(1), DisposedError)
  p.clearRecycled()
  const x = p.ones([1000])
  const step = () => p.scope(() => x.mul(2).add(1).exp().sum().item())
  step()
  const { bytes } = p.recycledMemory()
  for (let i = 0; i < 100; i++) step()
  t.equal(p.recycledMemory().bytes, bytes, 'nothing is allocated after the first step')
})

test('memory stays flat over many steps with dispose', async (t) => {
  const x = p.ones([64, 64])
  const run = (n: number) => {
    for (let i = 0; i < n; i++) {
      const y = x.matmul(x)
      y.dispose()
    }
  }
  run(2000)
  const before = process.memoryUsage().rss
  run(20000)
  const growth = process.memoryUsage().rss - before
  t.ok(growth < 64 * 2 ** 20, `grew by ${(growth / 2 ** 20).toFixed(1)} MiB`)
})

test('wrong input to every kind of function gives a typed error', async (t) => {
  const x = tensor([
    [1, 2],
    [3, 4],
  ])
  const cases: [() => unknown, new (...a: never[]) => Error][] = [
    [() => Tensor.from({ data: [1, 2] as unknown as Float32Array, shape: [2] }), DTypeError],
    [() => Tensor.from({ data: new Float32Array(3), shape: [2] }), ShapeError],
    [() => Tensor.from(3 as unknown as Tensor), p.ArgumentError],
    [() => tensor([[1], [2, 3]]), ShapeError],
    [() => tensor(['a' as unknown as number]), p.ArgumentError],
    [() => p.zeros([-1]), p.ArgumentError],
    [() => p.zeros([1.5]), p.ArgumentError],
    [() => p.zeros([2], { dtype: 'float16' as 'float32' }), p.ArgumentError],
    [() => x.add(tensor([1, 2, 3])), ShapeError],
    [() => x.matmul(tensor([[1, 2, 3]])), ShapeError],
    [
      () =>
        x.matmul(
          tensor(
            [
              [1, 2],
              [3, 4],
            ],
            { dtype: 'int32' },
          ),
        ),
      DTypeError,
    ],
    [() => x.reshape(3, -1), ShapeError],
    [() => x.reshape(-1, -1), ShapeError],
    [() => x.sum(2), p.ArgumentError],
    [() => x.sum([0, 0]), p.ArgumentError],
    [() => x.permute(0, 0), p.ArgumentError],
    [() => x.select(0, 2), p.ArgumentError],
    [() => x.slice(0, 0, 2, 0), p.ArgumentError],
    [() => x.expand(3, 2), ShapeError],
    [() => x.item(), ShapeError],
    [() => x.backward(), p.ArgumentError],
    [() => x.to('cuda:0'), p.DeviceError],
    [() => x.to('nowhere'), p.ArgumentError],
    [() => tensor([1], { dtype: 'int32' }).requireGrad(), p.ArgumentError],
    [() => p.cat([]), p.ArgumentError],
    [() => p.cat([x, tensor([[1]])]), ShapeError],
    [() => p.zeros([0]).max(), p.ArgumentError],
    [() => p.scope((async () => 1) as unknown as () => number), p.ArgumentError],
    [() => p.setThreads(0), p.ArgumentError],
    [() => p.indexSelect(x, [5]), p.ArgumentError],
  ]
  for (const [run, Expected] of cases) {
    try {
      run()
      t.fail(`${run} did not throw`)
    } catch (error) {
      t.ok(
        error instanceof Expected,
        `${run}: ${(error as Error).name}: ${(error as Error).message}`,
      )
    }
  }
})

/** Shapes with empty and one-element axes. */
const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 })
const numbers = fc.oneof(
  fc.double({ min: -100, max: 100, noNaN: true }),
  fc.constantFrom(NaN, Infinity, -Infinity, 0, -0),
)

test('property: elementwise operations on permuted views equal plain loops', async () => {
  fc.assert(
    fc.property(shapes, fc.infiniteStream(numbers), fc.nat(), (shape, stream, pick) => {
      const n = shape.reduce((a, b) => a * b, 1)
      const data = Float64Array.from({ length: n }, () => stream.next().value as number)
      const axes = shape.map((_, i) => i)
      const order = axes.map((_, i) => axes[(i + pick) % axes.length] as number)
      const x = Tensor.from({ data, shape }).permute(order)
      const flat = x.clone().data
      const pairs: [Tensor, (v: number) => number][] = [
        [x.mul(3).add(1), (v) => v * 3 + 1],
        [x.maximum(x.neg()), (v) => Math.max(v, -v)],
        [x.relu(), (v) => (v > 0 ? v : Number.isNaN(v) ? v : 0)],
      ]
      for (const [y, f] of pairs) {
        const got = y.data
        for (let i = 0; i < n; i++) {
          const expected = f(flat[i] as number)
          if (!(Object.is(got[i], expected) || got[i] === expected)) return false
        }
      }
      return true
    }),
    { numRuns: 200 },
  )
})

test('property: sums over axes equal plain loops, whatever the view', async () => {
  fc.assert(
    fc.property(
      shapes.filter((s) => s.length > 0),
      fc.nat(),
      fc.nat(),
      (shape, pick, turn) => {
        const n = shape.reduce((a, b) => a * b, 1)
        const data = Float64Array.from({ length: n }, (_, i) => ((i * 37) % 11) - 5)
        const axis = pick % shape.length
        const order = shape.map((_, i) => (i + turn) % shape.length)
        const x = Tensor.from({ data, shape }).permute(order)
        const total = x.sum(axis)
        return (
          total.sum().item() === data.reduce((a, b) => a + b, 0) && total.rank === shape.length - 1
        )
      },
    ),
    { numRuns: 200 },
  )
})

test('the same bits for 1, 2, 3 and 5 threads', async (t) => {
  p.manualSeed(5)
  const [a, b] = [p.randn([150, 300]), p.randn([300, 170])]
  const before = p.threads()
  const run = () => [...a.matmul(b).gelu().sum(0).data]
  p.setThreads(1)
  const expected = run()
  for (const n of [2, 3, 5]) {
    p.setThreads(n)
    t.same(run(), expected)
  }
  p.setThreads(before)
})
