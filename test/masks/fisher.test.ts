import { test } from 'tap'
import {
  ArgumentError,
  Generator,
  NumericalError,
  randn,
  ShapeError,
  tensor,
} from '../../lib/index.js'
import { DiagonalFisher, sampleLabels } from '../../lib/masks/index.js'
import * as nn from '../../lib/nn/index.js'

const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-6) =>
  a.length === b.length &&
  Array.from(a).every((x, i) => Math.abs(x - (b[i] as number)) <= tolerance * (1 + Math.abs(x)))

test('the mean of squares, batch by batch or example by example', async (t) => {
  const g = randn([5, 3, 7], { generator: new Generator(1) })
  const h = randn([5, 4], { generator: new Generator(2) })
  const fisher = new DiagonalFisher([[3, 7], [4]])
  fisher.update([g.slice(0, 0, 2), h.slice(0, 0, 2)])
  fisher.update([g.slice(0, 2, 5), h.slice(0, 2, 5)])
  t.equal(fisher.count, 5)
  t.ok(close(fisher.values[0]?.data as Float32Array, g.square().mean(0).clone().data))
  t.ok(close(fisher.values[1]?.data as Float32Array, h.square().mean(0).data))
  const single = new DiagonalFisher([[3, 7], [4]])
  for (let i = 0; i < 5; i++) single.update([g.select(0, i), h.select(0, i)])
  t.ok(close(single.values[0]?.data as Float32Array, fisher.values[0]?.data as Float32Array))
})

test('decay: an exponential average; extend: the online Fisher', async (t) => {
  const fisher = new DiagonalFisher([[2]], { decay: 0.9 })
  fisher.update([tensor([1, 2])])
  fisher.update([tensor([3, 0])])
  t.ok(close(fisher.values[0]?.data as Float32Array, [0.9 * 0.1 + 0.9, 0.9 * 0.4]))
  const next = new DiagonalFisher([[2]])
  next.update([tensor([1, 1])])
  fisher.extend(next, 0.5)
  t.ok(close(fisher.values[0]?.data as Float32Array, [0.495 + 1, 0.18 + 1]))
})

test('masks: by density per layer and over all; quantile 0 takes none, 1 all', async (t) => {
  const fisher = new DiagonalFisher([[4], [2]])
  fisher.update([tensor([1, 4, 2, 3]), tensor([9, 8])])
  const flags = (masks: { toTensor(): { data: ArrayLike<number> } }[]) =>
    masks.map((mask) => [...Array.from(mask.toTensor().data)])
  t.same(flags(fisher.mask({ density: 0.5 })), [
    [0, 1, 0, 1],
    [1, 0],
  ])
  t.same(flags(fisher.mask({ k: 3, scope: 'global' })), [
    [0, 1, 0, 0],
    [1, 1],
  ])
  t.same(flags(fisher.belowQuantile(0.5)), [
    [1, 0, 1, 1],
    [0, 0],
  ])
  t.same(flags(fisher.belowQuantile(0.5, 'tensor')), [
    [1, 0, 1, 0],
    [0, 1],
  ])
  t.same(flags(fisher.belowQuantile(0)), [
    [0, 0, 0, 0],
    [0, 0],
  ])
  t.same(flags(fisher.belowQuantile(1)), [
    [1, 1, 1, 1],
    [1, 1],
  ])
})

test('estimate: of given labels the squared gradients; of sampled ones the Fisher of softmax', async (t) => {
  const net = new nn.Linear(3, 2, { generator: new Generator(3) })
  const x = randn([2000, 3], { generator: new Generator(4) })
  const targets = tensor(Array(2000).fill(1), { dtype: 'int32' })
  const batches = () => [{ inputs: x, targets }]
  const given = new DiagonalFisher(net.parameters()).estimate(net, batches(), { perSample: true })
  const sampled = new DiagonalFisher(net.parameters()).estimate(net, batches(), {
    perSample: true,
    labels: 'sampled',
    generator: new Generator(5),
  })
  // By formula: ∂/∂W[c, j] = (p_c − [y = c])·x_j; over labels of the model its square's mean is
  // p_c(1 − p_c)·x_j².
  const p = net.call(x).detach().softmax().to('float64').clone().data
  const rows = x.data
  for (let c = 0; c < 2; c++) {
    for (let j = 0; j < 3; j++) {
      let [own, truth] = [0, 0]
      for (let i = 0; i < 2000; i++) {
        const pc = p[i * 2 + c] as number
        const square = (rows[i * 3 + j] as number) ** 2 / 2000
        own += (pc - (c === 1 ? 1 : 0)) ** 2 * square
        truth += pc * (1 - pc) * square
      }
      t.ok(Math.abs((given.values[0]?.data[c * 3 + j] as number) - own) < 1e-5)
      t.ok(Math.abs((sampled.values[0]?.data[c * 3 + j] as number) / truth - 1) < 0.1)
    }
  }
  t.equal(net.weight.grad, null)
})

test('sampled labels follow softmax', async (t) => {
  const logits = tensor(
    Array.from({ length: 8000 }, () => [Math.log(0.7), Math.log(0.2), Math.log(0.1)]),
  )
  const labels = sampleLabels(logits, new Generator(1)).data
  const counts = [0, 0, 0]
  for (const label of labels) counts[label] = (counts[label] as number) + 1
  t.ok(Math.abs((counts[0] as number) / 8000 - 0.7) < 0.02)
  t.ok(Math.abs((counts[2] as number) / 8000 - 0.1) < 0.02)
})

test('wrong gradients add nothing', async (t) => {
  const fisher = new DiagonalFisher([[2], [2]])
  t.throws(() => fisher.update([tensor([1, 2])]), ArgumentError)
  t.throws(() => fisher.update([tensor([1, 2]), tensor([1])]), ShapeError)
  t.throws(() => fisher.update([tensor([[1, 2]]), tensor([1, 2, 3, 4]).reshape(2, 2)]), ShapeError)
  t.throws(() => fisher.update([tensor([1, 2]), tensor([1, NaN])]), NumericalError)
  t.same(fisher.count, 0)
  t.same(Array.from(fisher.values[0]?.data ?? []), [0, 0])
  t.throws(() => new DiagonalFisher([[2]], { decay: 1 }), ArgumentError)
  t.throws(() => fisher.belowQuantile(2), ArgumentError)
})
