import { test } from 'tap'
import {
  ArgumentError,
  grad,
  gradcheck,
  ShapeError,
  type Tensor as T,
  Tensor,
  tensor,
} from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { fixture, gradcheckTwice, relativeError, waves } from '../fixtures.js'

interface Case {
  y: number[]
  x: number[]
  parameters: number[][]
  running_mean: number[]
  running_var: number[]
}
const cases = fixture('layers')['cases'] as unknown as Record<string, Case>

/** Parameters in the order in which PyTorch lists them. */
const order: Record<string, string[]> = {
  block: [
    'attention.inProjWeight',
    'attention.inProjBias',
    'attention.outProj.weight',
    'attention.outProj.bias',
    'mlp1.weight',
    'mlp1.bias',
    'mlp2.weight',
    'mlp2.bias',
    'norm1.weight',
    'norm1.bias',
    'norm2.weight',
    'norm2.bias',
  ],
}

const padding = tensor(
  [
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 1, 1],
  ],
  { dtype: 'bool' },
)
const block = (preNorm: boolean) =>
  new nn.TransformerBlock(12, 3, { mlpRatio: 2, causal: true, preNorm })
const attention = (causal = false) => new nn.MultiHeadAttention(12, 3, { causal })
const layers: Record<string, [make: () => nn.Module, shape: number[], passes?: number]> = {
  layerNorm: [() => new nn.LayerNorm(7), [2, 3, 7]],
  'layerNorm of two axes': [() => new nn.LayerNorm([3, 7]), [2, 3, 7]],
  rmsNorm: [() => new nn.RMSNorm(7), [2, 3, 7]],
  'batchNorm 1d': [() => new nn.BatchNorm(5), [8, 5], 2],
  'batchNorm 2d': [() => new nn.BatchNorm(3, { momentum: null }), [4, 3, 5, 4], 3],
  'batchNorm evaluated': [
    () => {
      const layer = new nn.BatchNorm(3)
      layer.runningMean?.array.set([0.1, -0.2, 0.3])
      layer.runningVariance?.array.set([0.5, 1.5, 2.0])
      return layer.eval()
    },
    [4, 3, 5, 4],
  ],
  groupNorm: [() => new nn.GroupNorm(2, 6), [2, 6, 3, 2]],
  convTranspose2d: [
    () => new nn.ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2 }),
    [2, 4, 4, 3],
  ],
  depthwise: [() => new nn.Conv2d(6, 6, 3, { padding: 1, groups: 6 }), [2, 6, 5, 4]],
  attention: [() => attention(), [2, 6, 12]],
  'attention, causal and padded': [() => attention(true), [2, 6, 12]],
  'attention to a context': [() => attention(), [2, 6, 12]],
  'block, pre-norm': [() => block(true), [2, 6, 12]],
  'block, post-norm': [() => block(false), [2, 6, 12]],
}

for (const [name, [make, shape, passes = 1]] of Object.entries(layers)) {
  for (const [dtype, tolerance] of [
    ['float64', 1e-9],
    ['float32', 4e-6],
  ] as const) {
    test(`${name}, ${dtype}: output and gradients as in PyTorch`, async (t) => {
      const expected = cases[name] as Case
      const layer = make().to(dtype)
      const named = Object.fromEntries(layer.namedParameters())
      const names = order[name.split(',')[0] as string] ?? Object.keys(named)
      names.forEach((key, i) => {
        const p = named[key] as T
        p.array.set(waves(p.shape, 50 + i, 0.5).array)
      })
      const x = waves(shape, 40).to(dtype).requireGrad()
      const options: nn.AttentionCall = {
        ...(name.includes('padded') ? { keyPaddingMask: padding } : {}),
        ...(name.includes('context') ? { context: waves([2, 4, 12], 42).to(dtype) } : {}),
      }
      let y = layer.call(x, options)
      for (let i = 1; i < passes; i++) y = layer.call(x, options)
      y.mul(waves(y.shape, 41).to(dtype)).sum().backward()
      const same = (value: T | null | undefined, wanted: number[], key: string) => {
        const error = relativeError(value?.data as Float64Array, wanted)
        t.ok(error < tolerance, `${key}: relative difference ${error}`)
      }
      same(y, expected.y, 'y')
      same(x.grad, expected.x, 'x')
      names.forEach((key, i) => {
        same(named[key]?.grad, expected.parameters[i] as number[], key)
      })
      if (layer instanceof nn.BatchNorm && expected.running_mean) {
        same(layer.runningMean, expected.running_mean, 'running mean')
        same(layer.runningVariance, expected.running_var, 'running variance')
      }
    })
  }
}

test('gelu tanh and embedding as in PyTorch', async (t) => {
  const x = waves([20], 40, 3).requireGrad()
  const y = new nn.GELU({ approximate: 'tanh' }).call(x)
  y.sum().backward()
  const { gelu, embedding } = {
    gelu: cases['gelu tanh'] as Case,
    embedding: cases['embedding'] as Case,
  }
  t.ok(relativeError(y.data as Float64Array, gelu.y) < 1e-9)
  t.ok(relativeError(x.grad?.data as Float64Array, gelu.x) < 1e-9)
  const table = new nn.Embedding(5, 4, { paddingIndex: 1 }).to('float64') as nn.Embedding
  t.same(table.weight.select(0, 1).toArray(), [0, 0, 0, 0])
  table.weight.array.set(waves([5, 4], 50, 0.5).array)
  const picked = table.call(
    tensor(
      [
        [0, 4, 1],
        [4, 4, 2],
      ],
      { dtype: 'int32' },
    ),
  )
  picked.mul(waves(picked.shape, 41)).sum().backward()
  t.ok(relativeError(picked.data as Float64Array, embedding.y) < 1e-9)
  t.ok(
    relativeError(table.weight.grad?.data as Float64Array, embedding.parameters[0] as number[]) <
      1e-9,
  )
})

const some = (shape: number[], seed = 1) => waves(shape, seed, 1.5)
const mask = tensor(
  [
    [1, 0, 1],
    [0, 0, 0],
    [1, 1, 0],
    [0, 1, 1],
  ],
  { dtype: 'bool' },
)
const functions: Record<string, [fn: (...x: T[]) => T, inputs: T[]]> = {
  layerNorm: [(x, w, b) => nn.layerNorm(x, w, b), [some([3, 4]), some([4], 2), some([4], 3)]],
  'layerNorm without weights': [(x) => nn.layerNorm(x), [some([3, 4])]],
  'layerNorm with a weight alone': [(x, w) => nn.layerNorm(x, w), [some([3, 4]), some([4], 2)]],
  rmsNorm: [(x, w) => nn.rmsNorm(x, w, { eps: 1e-3 }), [some([3, 4]), some([4], 2)]],
  batchNorm: [
    (x, w, b) => nn.batchNorm(x, w, b, null).y,
    [some([3, 2, 3]), some([2], 2), some([2], 3)],
  ],
  'batchNorm of vectors': [
    (x, w, b) => nn.batchNorm(x, w, b, null).y,
    [some([5, 2]), some([2], 2), some([2], 3)],
  ],
  'batchNorm with given statistics': [
    (x, w, b) =>
      nn.batchNorm(x, w, b, { mean: waves([2], 8), variance: waves([2], 9).abs().add(0.5) }).y,
    [some([3, 2, 2]), some([2], 2), some([2], 3)],
  ],
  embedding: [
    (w) => nn.embedding(tensor([2, 0, 2], { dtype: 'int32' }), w, { paddingIndex: 1 }),
    [some([3, 2])],
  ],
  attention: [
    (q, k, v) => nn.scaledDotProductAttention(q, k, v),
    [some([1, 2, 3, 2]), some([1, 2, 4, 2], 2), some([1, 2, 4, 3], 3)],
  ],
  'attention, causal': [
    (q, k, v) => nn.scaledDotProductAttention(q, k, v, { causal: true }),
    [some([2, 1, 4, 2]), some([2, 1, 4, 2], 2), some([2, 1, 4, 2], 3)],
  ],
  'attention, masked': [
    (q, k, v) => nn.scaledDotProductAttention(q, k, v, { mask, scale: 0.7 }),
    [some([1, 2, 4, 2]), some([1, 2, 3, 2], 2), some([1, 2, 3, 2], 3)],
  ],
  'attention, packed': [(x) => nn.packedAttention(x, 2, { causal: true }), [some([2, 3, 12])]],
  geluTanh: [(x) => nn.geluTanh(x), [some([5])]],
  convTranspose2d: [
    (x, w, b) => nn.convTranspose2d(x, w, b, { stride: 2, padding: 1 }),
    [some([1, 2, 3, 2]), some([2, 1, 3, 3], 2), some([1], 3)],
  ],
  selectiveScan: [
    (u, delta, a, b, c, d) => nn.selectiveScan(u, delta, a, b, c, d),
    [
      some([1, 3, 2]),
      some([1, 3, 2], 2).abs(),
      some([2, 2], 3).abs().neg(),
      some([1, 3, 2], 4),
      some([1, 3, 2], 5),
      some([2], 6),
    ],
  ],
  causalConv1d: [
    (x, w, b) => nn.causalConv1d(x, w, b),
    [some([2, 3, 2]), some([2, 2], 2), some([2], 3)],
  ],
}

for (const [name, [fn, inputs]] of Object.entries(functions)) {
  test(`${name}: gradient and gradient of the gradient`, async () => {
    gradcheck(fn, inputs)
    gradcheckTwice(fn, inputs, { atol: 1e-4, rtol: 1e-4 })
  })
}

test('attention over many tiles equals the definition', async (t) => {
  for (const [n, m, causal] of [
    [150, 150, true],
    [70, 300, false],
    [200, 90, true],
  ] as const) {
    const [q, k, v] = [some([1, 2, n, 5]), some([1, 2, m, 5], 2), some([1, 2, m, 4], 3)].map((x) =>
      x.requireGrad(),
    ) as [T, T, T]
    const y = nn.scaledDotProductAttention(q, k, v, { causal })
    const plain = () => {
      const scores = q.matmul(k.T).mul(1 / Math.sqrt(5))
      const hidden = Uint8Array.from({ length: n * m }, (_, i) =>
        causal && i % m > Math.floor(i / m) ? 1 : 0,
      )
      const dark = Tensor.from({ data: hidden, shape: [n, m] })
      return scores.maskedFill(dark.ne(0), -Infinity).softmax().matmul(v)
    }
    const wanted = plain()
    t.ok(relativeError(y.data as Float64Array, wanted.data as Float64Array) < 1e-13)
    const weight = some([1, 2, n, 4], 4)
    const slopes = grad(y.mul(weight).sum(), [q, k, v])
    const right = grad(wanted.mul(weight).sum(), [q, k, v])
    slopes.forEach((slope, i) => {
      const error = relativeError(slope.data as Float64Array, right[i]?.data as Float64Array)
      t.ok(error < 1e-12, `gradient ${i}: ${error}`)
    })
  }
})

test('losses as in PyTorch', async (t) => {
  const target = waves([4, 5], 41)
  const probabilities = target.add(1).div(2)
  const labels = tensor([0, 3, -100, 4], { dtype: 'int32' })
  const weight = waves([5], 42).abs().add(0.1)
  const signs = tensor([1, -1, -1, 1], { dtype: 'float64' })
  const losses: Record<string, (x: T) => T> = {
    l1Loss: (x) => nn.l1Loss(x, target),
    smoothL1Loss: (x) => nn.smoothL1Loss(x, target, { beta: 0.7 }),
    huberLoss: (x) => nn.huberLoss(x, target, { delta: 0.7 }),
    bceLoss: (x) => nn.bceLoss(x.sigmoid(), probabilities),
    bceWithLogits: (x) => nn.bceWithLogits(x, probabilities),
    nllLoss: (x) => nn.nllLoss(x.logSoftmax(1), labels, { weight }),
    klDiv: (x) => nn.klDiv(x.logSoftmax(1), probabilities.softmax(1), { logTarget: false }),
    cosineEmbeddingLoss: (x) => nn.cosineEmbeddingLoss(x, target, signs, { margin: -0.2 }),
    tripletMarginLoss: (x) => nn.tripletMarginLoss(x, target, probabilities, { margin: 2 }),
  }
  for (const [name, loss] of Object.entries(losses)) {
    const x = waves([4, 5], 40, 2).requireGrad()
    const value = loss(x)
    value.backward()
    const expected = cases[name] as Case
    t.ok(Math.abs(value.item() / (expected.y[0] as number) - 1) < 1e-8, name)
    const error = relativeError(x.grad?.data as Float64Array, expected.x)
    t.ok(error < 1e-8, `${name}: gradient, ${error}`)
    t.same(loss(waves([4, 5], 40, 2)).shape, [])
  }
  const rows = nn.nllLoss(waves([4, 5], 40).logSoftmax(1), labels, { reduction: 'none' })
  t.equal(rows.select(0, 2).item(), 0)
  t.throws(() => nn.nllLoss(waves([1, 5], 40), tensor([5], { dtype: 'int32' })), ArgumentError)
  t.throws(() => nn.l1Loss(waves([2], 1), waves([3], 1)), ShapeError)
})

test('selective scan as in PyTorch', async (t) => {
  const leaves = [
    waves([2, 37, 5], 40),
    waves([2, 37, 5], 41).abs().mul(0.5),
    waves([5, 3], 42).abs().mul(-2),
    waves([2, 37, 3], 43),
    waves([2, 37, 3], 44),
    waves([5], 45),
  ].map((x) => x.requireGrad()) as [T, T, T, T, T, T]
  const y = nn.selectiveScan(...leaves)
  y.mul(waves(y.shape, 46)).sum().backward()
  const expected = cases['selectiveScan'] as Case
  t.ok(relativeError(y.data as Float64Array, expected.y) < 1e-8)
  leaves.forEach((leaf, i) => {
    const error = relativeError(leaf.grad?.data as Float64Array, expected.parameters[i] as number[])
    t.ok(error < 1e-8, `gradient ${i}: ${error}`)
  })
  t.throws(
    () => nn.selectiveScan(leaves[0], leaves[1], leaves[2], leaves[3], leaves[5]),
    ShapeError,
  )
})

test('batch norm: chosen statistics, modes', async (t) => {
  const layer = new nn.BatchNorm(2)
  const x = some([6, 2]).to('float32')
  layer.eval()
  const before = layer.runningMean?.toArray()
  layer.statistics = 'batch'
  const y = layer.call(x)
  t.same(layer.runningMean?.toArray(), before, 'evaluation moves nothing')
  t.ok(Math.abs(y.mean().item()) < 1e-6)
  layer.train()
  layer.statistics = 'running'
  const scaled = layer.call(x).sub(x.mul(1 / Math.sqrt(1 + 1e-5)))
  t.ok(scaled.abs().max().item() < 1e-6)
  t.throws(() => new nn.BatchNorm(2).call(tensor([[1, 2]])), ShapeError)
})
