/** Every differentiable operation with inputs to check it at; ops.test.ts fails where one is missing. */

import * as ops from '../../lib/autograd/ops/index.js'
import { Generator, type Tensor, tensor } from '../../lib/index.js'
import { ints, values } from './values.js'

/** A function of some inputs. */
export interface Case {
  fn: (...x: Tensor[]) => Tensor
  inputs: Tensor[]
  /** Why its gradient is not differentiated again, where it is not. */
  once?: string
}

const of = (fn: Case['fn'], ...inputs: Tensor[]): Case => ({ fn, inputs })

/** A function of one tensor, at a range; also at a view that is not contiguous. */
const unary = (fn: (x: Tensor) => Tensor, low = -2, high = 2): Case[] => [
  of(fn, values([3, 4], low, high)),
  of((x) => fn(x.T), values([3, 4], low, high, 2)),
]

/** A function of two, under every kind of broadcasting. */
const binary = (fn: (a: Tensor, b: Tensor) => Tensor): Case[] => [
  of(fn, values([3, 4]), values([3, 4], 0.5, 2, 2)),
  of(fn, values([3, 4]), values([4], 0.5, 2, 2)),
  of(fn, values([3, 1]), values([2, 1, 4], 0.5, 2, 2)),
  of(fn, values([]), values([2, 3], 0.5, 2, 2)),
]

const elementwise: Record<string, Case[]> = {
  neg: unary(ops.neg),
  abs: unary(ops.abs),
  square: unary(ops.square),
  reciprocal: unary(ops.reciprocal, 0.5),
  sqrt: unary(ops.sqrt, 0.5),
  rsqrt: unary(ops.rsqrt, 0.5),
  exp: unary(ops.exp),
  expm1: unary(ops.expm1),
  log: unary(ops.log, 0.5, 3),
  log1p: unary(ops.log1p, -0.5, 3),
  sin: unary(ops.sin, -3, 3),
  cos: unary(ops.cos, -3, 3),
  tanh: unary(ops.tanh),
  sigmoid: unary(ops.sigmoid, -3, 3),
  relu: unary(ops.relu),
  gelu: unary(ops.gelu, -3, 3),
  geluTanh: unary(ops.geluTanh, -3, 3),
  silu: unary(ops.silu, -3, 3),
  softplus: unary(ops.softplus, -3, 3),
  erf: unary(ops.erf),
  clip: [
    ...unary((x) => ops.clip(x, -1, 1)),
    ...unary((x) => ops.clip(x, null, 1)),
    ...unary((x) => ops.clip(x, -0.5, null)),
  ],
  add: binary(ops.add),
  addOnto: [
    of((x, y) => ops.addOnto(x, ops.linear(y, y)), values([3, 3]), values([3, 3], -1, 1, 2)),
    of((x, y) => ops.addOnto(x, ops.tanh(y)), values([3]), values([2, 3], -1, 1, 2)),
    of((x, y) => ops.addOnto(x, ops.mul(y, 2)), values([2, 3]), values([3], -1, 1, 2)),
  ],
  sub: binary(ops.sub),
  mul: binary(ops.mul),
  div: binary(ops.div),
  maximum: binary(ops.maximum),
  minimum: binary(ops.minimum),
  mod: binary(ops.mod),
  pow: [...binary((a, b) => ops.pow(ops.abs(a), b)), ...unary((x) => ops.pow(x, 3))],
  where: binary((a, b) => ops.where(ops.gt(a, b), ops.mul(a, 2), b)),
  lerp: [of(ops.lerp, values([3, 4]), values([4], -1, 1, 2), values([3, 1], 0, 1, 3))],
  addcmul: [
    of((x, a, b) => ops.addcmul(x, a, b, 0.5), values([3, 4]), values([4]), values([3, 1])),
  ],
  addcdiv: [
    of((x, a, b) => ops.addcdiv(x, a, b, 0.5), values([3, 4]), values([4]), values([3, 1], 0.5)),
  ],
  dropout: [of((x) => ops.dropout(x, 0.5, new Generator(3)), values([3, 4]))],
  maskedFill: [
    of((x) => ops.maskedFill(x, tensor([1, 0, 0, 1], { dtype: 'bool' }), 7), values([3, 4])),
  ],
}

const withZeros = tensor(
  [
    [2, 0, -1, 0.5],
    [1, 3, -2, 0.7],
    [0, 2, 0, 1],
  ],
  { dtype: 'float64' },
)
const zeros = 'at a factor of zero the gradient jumps between formulas'

const reductions: Record<string, Case[]> = {
  sum: [of((x) => x.sum(), values([3, 4])), of((x) => x.sum([0, 2]), values([2, 3, 4]))],
  mean: [of((x) => x.mean(), values([3, 4])), of((x) => x.mean(1, true), values([2, 3, 4]))],
  prod: [
    of((x) => x.prod(0), values([3, 4])),
    of((x) => x.prod(), values([5])),
    { fn: (x) => x.prod(1), inputs: [withZeros], once: zeros },
  ],
  max: [of((x) => x.max(1), values([3, 4])), of((x) => x.max(), values([3, 4]))],
  min: [of((x) => x.min(1), values([3, 4])), of((x) => x.min(), values([3, 4]))],
  variance: [
    of((x) => x.variance(0), values([3, 4])),
    of((x) => x.variance([0, 1], true, 0), values([3, 4])),
  ],
  std: [of((x) => x.std(), values([3, 4])), of((x) => x.std(1), values([3, 4]))],
  norm: [
    of((x) => x.norm(), values([3, 4])),
    ...[1, 2, 3, 1.5, 0.5, Infinity, -Infinity].map((p) =>
      of((x) => x.norm(1, false, p), values([3, 4])),
    ),
  ],
  logsumexp: [
    of((x) => ops.logsumexp(x, 1), values([3, 4])),
    of((x) => ops.logsumexp(x), values([3, 4])),
  ],
  cumsum: [of((x) => x.cumsum(1), values([3, 4])), of((x) => x.cumsum(0), values([3, 4]))],
  cumprod: [
    of((x) => x.cumprod(1), values([3, 4])),
    of((x) => x.cumprod(0), values([3, 4])),
    { fn: (x) => x.cumprod(1), inputs: [withZeros], once: zeros },
  ],
  cummax: [of((x) => ops.cummax(x, 1).values, values([3, 6]))],
  cummin: [of((x) => ops.cummin(x, 0).values, values([6, 3]))],
  softmax: [of((x) => x.softmax(), values([3, 4])), of((x) => x.softmax(0), values([3, 4]))],
  logSoftmax: [
    of((x) => x.logSoftmax(), values([3, 4])),
    of((x) => x.logSoftmax(0), values([3, 4])),
  ],
  crossEntropy: [
    of((x) => ops.crossEntropy(x, ints([1, 0, 3]), { labelSmoothing: 0.1 }), values([3, 4])),
    of(
      (x) => ops.crossEntropy(x, ints([1, -100, 3]), { weight: values([4], 0.5, 2) }),
      values([3, 4]),
    ),
    of((x) => ops.crossEntropy(x, ints([1, 2, 3]), { reduction: 'none' }), values([3, 4])),
  ],
}

const products: Record<string, Case[]> = {
  matmul: [
    of((a, b) => a.matmul(b), values([3, 4]), values([4, 5])),
    of((a, b) => a.T.matmul(b.T), values([4, 3]), values([5, 4])),
    of((a, b) => a.matmul(b), values([2, 3, 4]), values([2, 4, 5])),
    of((a, b) => a.matmul(b), values([2, 1, 3, 4]), values([3, 4, 2])),
    of((a, b) => a.matmul(b), values([2, 3, 4]), values([4, 5])),
    of((a, b) => a.matmul(b), values([4]), values([4])),
    of((a, b) => a.matmul(b), values([4]), values([4, 2])),
    of((a, b) => a.matmul(b), values([3, 4]), values([4])),
    of((x) => x.matmul(x.T), values([3, 4])),
  ],
  linear: [
    of((x, w, b) => ops.linear(x, w, b), values([2, 3, 4]), values([5, 4]), values([5])),
    ...(['relu', 'tanh', 'sigmoid'] as const).map((activation) =>
      of((x, w, b) => ops.linear(x, w, b, activation), values([3, 4]), values([5, 4]), values([5])),
    ),
    of((x) => ops.linear(x, x, null, 'tanh'), values([3, 4])),
  ],
  outer: [of(ops.outer, values([3]), values([4], -1, 1, 2))],
  dot: [of(ops.dot, values([4]), values([4], -1, 1, 2))],
  einsum: [
    of((a, b) => ops.einsum('ij,jk->ki', a, b), values([3, 4]), values([4, 2])),
    of((a, b) => ops.einsum('...ij,...j->...i', a, b), values([2, 3, 4]), values([4])),
    of((a) => ops.einsum('bii->b', a), values([2, 3, 3])),
    of(
      (a, b, c) => ops.einsum('ab,bc,ad->dc', a, b, c),
      values([2, 3]),
      values([3, 2]),
      values([2, 4]),
    ),
    of((a, b) => ops.einsum('i,j', a, b), values([3]), values([4])),
    of((a, b) => ops.einsum('bij,bkj->bik', a, b), values([2, 3, 4]), values([1, 2, 4])),
  ],
  conv2d: [
    of(
      (x, w, b) => ops.conv2d(x, w, b, { padding: 1, stride: 2 }),
      values([2, 2, 4, 4]),
      values([2, 2, 3, 3], -1, 1, 2),
      values([2]),
    ),
    of(
      (x, w) => ops.conv2d(x, w, null, { groups: 2, dilation: 2 }),
      values([1, 2, 5, 4]),
      values([2, 1, 2, 2], -1, 1, 2),
    ),
    of(
      (x, w, b) => ops.conv2d(x, w, b, { padding: 1, activation: 'relu' }),
      values([2, 2, 4, 4]),
      values([2, 2, 3, 3], -1, 1, 2),
      values([2]),
    ),
  ],
  maxPool2d: [of((x) => ops.maxPool2d(x, 2), values([1, 2, 4, 5]))],
  avgPool2d: [of((x) => ops.avgPool2d(x, 2, { stride: 1, padding: 1 }), values([1, 2, 3, 4]))],
  im2col: [
    of(
      (x) => ops.im2col(x, [2, 3], { stride: [1, 2], padding: 1, dilation: [2, 1] }),
      values([2, 2, 4, 5]),
    ),
  ],
  col2im: [of((x) => ops.col2im(x, [3, 4], 2, { padding: 1, stride: 2 }), values([1, 8, 6]))],
}

const statistics = () => ({ mean: values([3]), variance: values([3], 0.5, 2, 2) })
const lower = tensor([1, 0, 0, 1, 1, 0, 1, 1, 1], { dtype: 'bool', shape: [3, 3] })

const networks: Record<string, Case[]> = {
  layerNorm: [
    of((x, w, b) => ops.layerNorm(x, w, b), values([2, 3, 4]), values([4]), values([4])),
    of((x) => ops.layerNorm(x, null, null, { shape: [3, 4] }), values([2, 3, 4])),
  ],
  rmsNorm: [of((x, w) => ops.rmsNorm(x, w, { eps: 1e-3 }), values([2, 3, 4]), values([4]))],
  batchNorm: [
    of(
      (x, w, b) => ops.batchNorm(x, w, b, null).y,
      values([4, 3, 2]),
      values([3]),
      values([3], -1, 1, 2),
    ),
    of((x, w) => ops.batchNorm(x, w, null, statistics()).y, values([4, 3]), values([3])),
  ],
  embedding: [
    of((table) => ops.embedding(ints([1, 2, 1, 0], [2, 2]), table), values([3, 4])),
    of(
      (table) => ops.embedding(ints([1, 2, 1]), table, { paddingIndex: 2 }).slice(0, 0, 1),
      values([3, 4]),
    ),
  ],
  scaledDotProductAttention: [
    of(
      (q, k, v) => ops.scaledDotProductAttention(q, k, v, { causal: true }),
      values([1, 2, 3, 4]),
      values([1, 2, 3, 4], -1, 1, 2),
      values([1, 2, 3, 4], -1, 1, 3),
    ),
    of(
      (q, k, v) => ops.scaledDotProductAttention(q, k, v, { mask: lower, scale: 0.3 }),
      values([2, 1, 3, 2]),
      values([2, 1, 3, 2], -1, 1, 2),
      values([2, 1, 3, 2], -1, 1, 3),
    ),
  ],
  convTranspose2d: [
    of(
      (x, w, b) => ops.convTranspose2d(x, w, b, { stride: 2, padding: 1 }),
      values([1, 2, 3, 2]),
      values([2, 1, 3, 3], -1, 1, 2),
      values([1]),
    ),
  ],
  selectiveScan: [
    of(
      (u, delta, a, b, c, d) => ops.selectiveScan(u, delta, a, b, c, d),
      values([1, 3, 2]),
      values([1, 3, 2], 0.2, 1, 2),
      values([2, 2], -1, -0.2, 3),
      values([1, 3, 2], -1, 1, 4),
      values([1, 3, 2], -1, 1, 5),
      values([2]),
    ),
  ],
  causalConv1d: [
    of(
      (x, w, b) => ops.causalConv1d(x, w, b),
      values([2, 3, 2]),
      values([2, 2], -1, 1, 2),
      values([2]),
    ),
  ],
  packedAttention: [of((x) => ops.packedAttention(x, 2, { causal: true }), values([1, 3, 12]))],
}

const index = ints([2, 0, 1, 1, 2, 2, 0, 1], [2, 4])
const intoThree = (mode: ops.ScatterReduction, self: boolean): Case =>
  of(
    (x, src) => ops.scatterReduce(x, 0, index, src, mode, self),
    values([3, 4], 0.5, 2),
    values([2, 4], 0.5, 2, 5),
  )

const picking: Record<string, Case[]> = {
  sort: [
    of((x) => x.sort(1, true).values, values([3, 4])),
    of((x) => x.sort(0).values, values([3, 4])),
  ],
  topk: [of((x) => x.topk(2, 0, false).values, values([3, 4]))],
  gather: [
    of((x) => ops.gather(x, 0, index), values([3, 4])),
    of((x) => ops.gather(x.T, 1, ints([2, 2, 0], [3, 1])), values([3, 4])),
  ],
  indexSelect: [
    of((x) => ops.indexSelect(x, [2, 0, 2]), values([3, 4])),
    of((x) => ops.indexSelect(x, [2, 0, 2], 1), values([2, 3, 2])),
  ],
  scatter: [
    of((x, src) => ops.scatter(x, 0, index, src), values([3, 4]), values([2, 4], -1, 1, 2)),
    of(
      (x, src) => ops.scatter(x, 1, ints([1, 1, 0], [1, 3]), src),
      values([3, 4]),
      values([2, 4], -1, 1, 2),
    ),
    of((x) => ops.scatter(x, 0, index, 3), values([3, 4])),
  ],
  scatterAdd: [
    of((x, src) => ops.scatterAdd(x, 0, index, src), values([3, 4]), values([2, 4], -1, 1, 2)),
  ],
  scatterReduce: [
    ...(['sum', 'mean', 'prod', 'amax', 'amin'] as const).flatMap((mode) => [
      intoThree(mode, true),
      intoThree(mode, false),
    ]),
    {
      fn: (x, src) => ops.scatterReduce(x, 0, index, src, 'prod'),
      inputs: [withZeros, withZeros.slice(0, 0, 2).clone()],
      once: zeros,
    },
  ],
  indexAdd: [
    of((x, src) => ops.indexAdd(x, 1, [1, 1, 0], src, 2), values([2, 4]), values([2, 3], -1, 1, 2)),
  ],
  indexCopy: [
    of((x, src) => ops.indexCopy(x, 1, [1, 1, 0], src), values([2, 4]), values([2, 3], -1, 1, 2)),
  ],
  indexFill: [of((x) => ops.indexFill(x, 1, [1, 3], 5), values([2, 4]))],
  maskedSelect: [
    of((x) => ops.maskedSelect(x, x.detach().gt(0.3)), values([3, 4])),
    of((x) => ops.maskedSelect(x, tensor([1, 0, 1, 0], { dtype: 'bool' })), values([3, 1])),
  ],
  bincount: [of((w) => ops.bincount([2, 0, 2], { weights: w, minLength: 4 }), values([3]))],
}

const views: Record<string, Case[]> = {
  reshape: [of((x) => x.T.reshape(2, 6), values([3, 4]))],
  flatten: [of((x) => x.flatten(1), values([2, 3, 2]))],
  permute: [of((x) => x.permute(2, 0, 1), values([2, 3, 4]))],
  transpose: [of((x) => x.transpose(0, 1), values([3, 4]))],
  moveAxis: [of((x) => ops.moveAxis(x, 0, 2), values([2, 3, 4]))],
  expand: [of((x) => x.expand(2, 3, 4), values([3, 1]))],
  slice: [of((x) => x.slice(1, 1, 4, 2), values([3, 5]))],
  select: [of((x) => x.select(0, -1), values([3, 5]))],
  flip: [of((x) => x.flip([0, 1]).mul(x), values([3, 5]))],
  flipAxis: [of((x) => ops.flipAxis(x, 1).mul(x), values([3, 5]))],
  squeeze: [of((x) => x.squeeze(), values([3, 1, 2]))],
  unsqueeze: [of((x) => x.unsqueeze(1), values([3, 5]))],
  cat: [of((a, b) => ops.cat([a, b], 1), values([3, 2]), values([3, 4], -1, 1, 3))],
  stack: [of((a, b) => ops.stack([a, b], -1), values([3, 2]), values([3, 2], -1, 1, 3))],
  split: [of((x) => ops.mul(...(ops.split(x, 2, 1) as [Tensor, Tensor])), values([3, 4]))],
  chunk: [of((x) => ops.mul(...(ops.chunk(x, 2, 1) as [Tensor, Tensor])), values([3, 4]))],
  unbind: [of((x) => ops.mul(...(ops.unbind(x) as [Tensor, Tensor])), values([2, 4]))],
  roll: [of((x) => x.roll(-3, 1).mul(x), values([2, 5]))],
  repeat: [of((x) => x.repeat(2, 1, 3), values([2, 3]))],
  repeatInterleave: [
    of((x) => x.repeatInterleave(3, 0), values([2, 3])),
    of((x) => x.repeatInterleave([2, 0, 1], 1), values([2, 3])),
  ],
  tril: [of((x) => x.tril(-1), values([2, 3, 4]))],
  triu: [of((x) => x.triu(1), values([3, 4]))],
  diagonal: [of((x) => x.diagonal(1, 0, 2), values([3, 2, 4]))],
  diag: [of((x) => ops.diag(x, -1), values([3])), of((x) => ops.diag(x), values([3, 4]))],
  trace: [of((x) => ops.trace(x), values([2, 3, 3]))],
  pad: [
    of((x) => x.pad([1, 2, -1, 1]), values([3, 4])),
    of((x) => x.pad([1, 2], { mode: 'reflect' }), values([3, 4])),
    of((x) => x.pad([1, 2, 3, 0], { mode: 'replicate' }), values([3, 4])),
    of((x) => x.pad([1, 2, 1, 1], { mode: 'circular' }), values([3, 4])),
  ],
  unfold: [
    of((x) => x.unfold(1, 3, 2), values([2, 8])),
    of((x) => x.unfold(0, 2, 1), values([4, 2])),
  ],
  foldAxis: [of((x) => ops.foldAxis(x, 1, 6, 1), values([2, 4, 3]))],
  meshgrid: [
    of((a, b) => ops.mul(...(ops.meshgrid([a, b]) as [Tensor, Tensor])), values([2]), values([3])),
  ],
  clone: [of((x) => x.clone(), values([3]))],
  contiguous: [of((x) => ops.contiguous(x.T), values([3, 2]))],
  cast: [of((x) => ops.cast(x, 'float64'), values([3]))],
  sumTo: [of((x) => ops.sumTo(x, [1, 4]), values([2, 3, 4]))],
}

export const cases: Record<string, Case[]> = {
  ...elementwise,
  ...reductions,
  ...products,
  ...networks,
  ...picking,
  ...views,
}

const comparison = 'a comparison'
const integers = 'the result is made of indices or counts'
const steps = 'piecewise constant'
const memory = 'works on memory, below the tape'

/** What ops exports that has no gradient, and why. */
export const withoutGradient: Record<string, string> = {
  eq: comparison,
  ne: comparison,
  lt: comparison,
  le: comparison,
  gt: comparison,
  ge: comparison,
  isClose: comparison,
  allClose: comparison,
  equal: comparison,
  logicalAnd: comparison,
  logicalOr: comparison,
  logicalXor: comparison,
  logicalNot: comparison,
  isNaN: comparison,
  isFinite: comparison,
  any: comparison,
  all: comparison,
  sign: steps,
  floor: steps,
  ceil: steps,
  round: steps,
  argmax: integers,
  argmin: integers,
  argsort: integers,
  nonzero: integers,
  oneHot: integers,
  copy: memory,
  copyInto: memory,
  addInto: memory,
  inPlace: memory,
  plainMul: memory,
  filled: memory,
  fullLike: memory,
  onDevice: memory,
  read: memory,
  numbers: memory,
  ownsMemory: memory,
  dense: memory,
  overGradient: memory,
  viewOf: memory,
  lif: 'its surrogate is no derivative; test/nn/features.test.ts holds it to its formula',
  neuron: 'checks an argument',
  pair: 'checks an argument',
  poolWindow: 'checks an argument',
  recordProduct: 'part of matmul',
  reluBackward: 'part of relu',
  tanhBackward: 'part of tanh',
  sigmoidBackward: 'part of sigmoid',
  toDevice: 'checked where devices are (test/engine/devices.test.ts)',
}
