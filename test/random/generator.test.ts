import { test } from 'tap'
import {
  ArgumentError,
  Generator,
  manualSeed,
  rand,
  randint,
  randn,
  setThreads,
  tensor,
  threads,
} from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { philox } from '../../lib/random/generator.js'

test('philox: the published vectors of Random123 (kat_vectors, philox4x32 10)', async (t) => {
  const ones = 0xffffffff
  t.same(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  t.same(
    philox([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  )
  t.same(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  )
})

test('the engine draws the words of the plain form', async (t) => {
  const seed = 2 ** 40 + 7
  const g = new Generator(seed)
  for (const position of [0, 255, 2 ** 34 - 3]) {
    g.position = position
    for (let i = 0; i < 20; i++) {
      const at = position + i
      const index = Math.floor(at / 4)
      const block = philox([index >>> 0, Math.floor(index / 2 ** 32), 0, 0], [7, 2 ** 8])
      t.equal(g.next(), block[at % 4])
    }
  }
})

test('single draws are the entries of tensors, whatever the position', async (t) => {
  for (const [one, many] of [
    [(g: Generator) => g.uniform(), (g: Generator) => rand([100], { generator: g })],
    [(g: Generator) => g.normal(), (g: Generator) => randn([100], { generator: g })],
    [
      (g: Generator) => g.integer(77) + 5,
      (g: Generator) => randint(5, 82, [100], { generator: g }),
    ],
  ] as const) {
    for (const position of [0, 13, 1001]) {
      const [a, b] = [new Generator(9), new Generator(9)]
      a.position = b.position = position
      t.same(
        many(a).toArray(),
        Array.from({ length: 100 }, () => one(b)),
      )
      t.equal(a.position, b.position)
    }
  }
  const wide = randn([50], { generator: new Generator(1), dtype: 'float64' })
  const narrow = randn([50], { generator: new Generator(1) })
  // Float32 rounds the word of the radius to 24 bits, which shows most where the radius is small.
  t.ok(wide.sub(narrow.to('float64')).abs().max().item() < 1e-4)
})

test('a seed gives the same numbers, and a position goes on', async (t) => {
  const a = new Generator(7)
  const b = new Generator(7)
  const first = Array.from({ length: 10 }, () => a.uniform())
  t.same(
    first,
    Array.from({ length: 10 }, () => b.uniform()),
  )
  b.position = 3
  t.equal(b.uniform(), first[3])
  t.notSame(first[0], new Generator(8).uniform())
})

test('moments and ranges', async (t) => {
  manualSeed(1)
  const u = rand([20000])
  const n = randn([20000])
  const k = randint(-3, 4, [20000])
  t.ok(Math.abs(u.mean().item() - 0.5) < 0.01 && u.min().item() >= 0 && u.max().item() < 1)
  t.ok(Math.abs(n.mean().item()) < 0.03 && Math.abs(n.std().item() - 1) < 0.03)
  t.equal(k.min().item(), -3)
  t.equal(k.max().item(), 3)
  const order = new Generator(3).permutation(1000)
  t.same(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  )
  t.throws(() => randint(3, 3, [2]), ArgumentError)
  t.throws(() => randint(0, 2 ** 33, [2]), ArgumentError)
  t.throws(() => new Generator(-1), ArgumentError)
  t.throws(() => new Generator(1).integer(0), ArgumentError)
})

test('dropout: the gradient passes where the value did, second gradients too', async (t) => {
  const layer = new nn.Dropout(0.4, { generator: new Generator(2) })
  for (const dtype of ['float32', 'float64', 'bfloat16'] as const) {
    const x = tensor(Array(1000).fill(2), { dtype, requiresGrad: true })
    const y = layer.call(x)
    y.sum().backward()
    const values = y.to('float32').toArray() as number[]
    const slopes = x.grad?.to('float32').toArray() as number[]
    t.ok(values.every((value, i) => Math.abs(value - 2 * (slopes[i] as number)) < 0.02))
    t.ok(Math.abs(values.filter((value) => value === 0).length - 400) < 60)
  }
  layer.eval()
  const x = tensor([1, 2])
  t.equal(layer.call(x), x)
  t.same(new nn.Dropout(1).call(tensor([1, 2])).toArray(), [0, 0])
})

test('the same numbers for 1, 2, 3 and 5 threads', async (t) => {
  const before = threads()
  const draw = () => randn([300_000], { generator: new Generator(4) }).data
  setThreads(1)
  const expected = draw()
  for (const n of [2, 3, 5]) {
    setThreads(n)
    t.same(Buffer.compare(Buffer.from(draw().buffer), Buffer.from(expected.buffer)), 0)
  }
  setThreads(before)
})
