import { test } from 'tap'
import { crossEntropy } from '../../lib/autograd/ops/softmax.js'
import * as p from '../../lib/index.js'
import { grad, gradcheck, type Tensor, tensor } from '../../lib/index.js'

/** Float64 values that stay away from kinks and poles. */
function values(shape: number[], low = -2, high = 2, seed = 1): Tensor {
  const n = shape.reduce((a, b) => a * b, 1)
  const data = Float64Array.from({ length: n }, (_, i) => {
    const u = Math.abs(Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453) % 1
    const x = low + (high - low) * u
    return Math.abs(x) < 0.05 ? x + 0.1 : x
  })
  return p.Tensor.from({ data, shape })
}

const unary: Record<string, [(x: Tensor) => Tensor, number, number]> = {
  neg: [p.neg, -2, 2],
  abs: [p.abs, -2, 2],
  square: [p.square, -2, 2],
  reciprocal: [p.reciprocal, 0.5, 2],
  sqrt: [p.sqrt, 0.5, 2],
  rsqrt: [p.rsqrt, 0.5, 2],
  exp: [p.exp, -2, 2],
  expm1: [p.expm1, -2, 2],
  log: [p.log, 0.5, 3],
  log1p: [p.log1p, -0.5, 3],
  sin: [p.sin, -3, 3],
  cos: [p.cos, -3, 3],
  tanh: [p.tanh, -2, 2],
  sigmoid: [p.sigmoid, -3, 3],
  relu: [p.relu, -2, 2],
  gelu: [p.gelu, -3, 3],
  silu: [p.silu, -3, 3],
  softplus: [p.softplus, -3, 3],
  erf: [p.erf, -2, 2],
  clip: [(x) => p.clip(x, -1, 1), -2, 2],
}

for (const [name, [fn, low, high]] of Object.entries(unary)) {
  test(`${name}: gradient and gradient of the gradient`, async () => {
    const x = values([3, 4], low, high)
    gradcheck(fn, [x])
    gradcheck(fn, [x.T])
    gradcheck((x) => grad(p.sum(p.mul(fn(x), x)), [x], { createGraph: true })[0] as Tensor, [x], {
      atol: 1e-5,
    })
  })
}

const binary: Record<string, (a: Tensor, b: Tensor) => Tensor> = {
  add: p.add,
  sub: p.sub,
  mul: p.mul,
  div: p.div,
  maximum: p.maximum,
  minimum: p.minimum,
  mod: p.mod,
  pow: (a, b) => p.pow(p.abs(a), b),
  where: (a, b) => p.where(p.gt(a, b), p.mul(a, 2), b),
}

for (const [name, fn] of Object.entries(binary)) {
  test(`${name}: gradients under broadcasting`, async () => {
    gradcheck(fn, [values([3, 4]), values([3, 4], 0.5, 2, 2)])
    gradcheck(fn, [values([3, 4]), values([4], 0.5, 2, 2)])
    gradcheck(fn, [values([3, 1]), values([2, 1, 4], 0.5, 2, 2)])
    gradcheck(fn, [values([]), values([2, 3], 0.5, 2, 2)])
  })
}

const others: Record<string, [(...x: Tensor[]) => Tensor, Tensor[]]> = {
  sum: [(x) => x.sum(), [values([3, 4])]],
  'sum of axes': [(x) => x.sum([0, 2]), [values([2, 3, 4])]],
  mean: [(x) => x.mean(1, true), [values([2, 3, 4])]],
  prod: [(x) => x.prod(0), [values([3, 4])]],
  max: [(x) => x.max(1), [values([3, 4])]],
  min: [(x) => x.min(), [values([3, 4])]],
  variance: [(x) => x.variance(0), [values([3, 4])]],
  std: [(x) => x.std(), [values([3, 4])]],
  norm: [(x) => x.norm(1), [values([3, 4])]],
  cumsum: [(x) => x.cumsum(1), [values([3, 4])]],
  logsumexp: [(x) => p.logsumexp(x, 1), [values([3, 4])]],
  softmax: [(x) => x.softmax(), [values([3, 4])]],
  'softmax of axis 0': [(x) => x.softmax(0), [values([3, 4])]],
  logSoftmax: [(x) => x.logSoftmax(), [values([3, 4])]],
  crossEntropy: [
    (x) => crossEntropy(x, tensor([1, 0, 3], { dtype: 'int32' }), { labelSmoothing: 0.1 }),
    [values([3, 4])],
  ],
  'crossEntropy, weighted sum': [
    (x) =>
      crossEntropy(x, tensor([1, -100, 3], { dtype: 'int32' }), {
        weight: values([4], 0.5, 2),
        reduction: 'mean',
      }),
    [values([3, 4])],
  ],
  'crossEntropy by row': [
    (x) => crossEntropy(x, tensor([1, 2, 3], { dtype: 'int32' }), { reduction: 'none' }),
    [values([3, 4])],
  ],
  matmul: [(a, b) => a.matmul(b), [values([3, 4]), values([4, 5])]],
  'matmul of transposes': [(a, b) => a.T.matmul(b.T), [values([4, 3]), values([5, 4])]],
  'matmul of batches': [(a, b) => a.matmul(b), [values([2, 3, 4]), values([2, 4, 5])]],
  'matmul, broadcast batches': [(a, b) => a.matmul(b), [values([2, 1, 3, 4]), values([3, 4, 2])]],
  'matmul, batch times matrix': [(a, b) => a.matmul(b), [values([2, 3, 4]), values([4, 5])]],
  'matmul of vectors': [(a, b) => a.matmul(b), [values([4]), values([4])]],
  'vector times matrix': [(a, b) => a.matmul(b), [values([4]), values([4, 2])]],
  'matrix times vector': [(a, b) => a.matmul(b), [values([3, 4]), values([4])]],
  linear: [(x, w, b) => p.linear(x, w, b), [values([2, 3, 4]), values([5, 4]), values([5])]],
  'linear relu': [
    (x, w, b) => p.linear(x, w, b, 'relu'),
    [values([3, 4]), values([5, 4]), values([5])],
  ],
  'linear tanh': [
    (x, w, b) => p.linear(x, w, b, 'tanh'),
    [values([3, 4]), values([5, 4]), values([5])],
  ],
  'linear sigmoid': [(x, w) => p.linear(x, w, null, 'sigmoid'), [values([3, 4]), values([5, 4])]],
  reshape: [(x) => x.T.reshape(2, 6).square(), [values([3, 4])]],
  permute: [(x) => x.permute(2, 0, 1).square(), [values([2, 3, 4])]],
  expand: [(x) => x.expand(2, 3, 4).square(), [values([3, 1])]],
  slice: [(x) => x.slice(1, 1, 4, 2).square(), [values([3, 5])]],
  select: [(x) => x.select(0, -1).square(), [values([3, 5])]],
  flip: [(x) => p.flip(x, 1).mul(x), [values([3, 5])]],
  squeeze: [(x) => x.unsqueeze(1).squeeze().square(), [values([3, 5])]],
  cat: [(a, b) => p.cat([a, b], 1).square(), [values([3, 2]), values([3, 4], -1, 1, 3)]],
  stack: [(a, b) => p.stack([a, b], -1).square(), [values([3, 2]), values([3, 2], -1, 1, 3)]],
  split: [(x) => p.mul(...(p.split(x, 2, 1) as [Tensor, Tensor])), [values([3, 4])]],
  indexSelect: [(x) => p.indexSelect(x, [2, 0, 2]).square(), [values([3, 4])]],
  'indexSelect of axis 1': [(x) => p.indexSelect(x, [2, 0, 2], 1).square(), [values([3, 4])]],
}

for (const [name, [fn, inputs]] of Object.entries(others)) {
  test(`${name}: gradient`, async () => gradcheck(fn, inputs))
}

test('gradients of gradients: softmax, norm, products', async () => {
  const twice = (fn: (x: Tensor) => Tensor) => (x: Tensor) =>
    grad(p.sum(p.square(fn(x))), [x], { createGraph: true })[0] as Tensor
  for (const fn of [
    (x: Tensor) => x.softmax(),
    (x: Tensor) => x.logSoftmax(),
    (x: Tensor) => x.norm(1),
    (x: Tensor) => x.matmul(x.T),
    (x: Tensor) => x.slice(0, 1).cumsum(1),
    (x: Tensor) => p.linear(x, x, null, 'tanh'),
    (x: Tensor) => x.max(1),
  ]) {
    gradcheck(twice(fn), [values([3, 4], -1, 1)], { atol: 1e-5 })
  }
})
