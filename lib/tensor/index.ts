/** Tensors: creation, and the functions that people call on them. */

export { grad } from '../autograd/backward.js'
export { type GradcheckOptions, gradcheck } from '../autograd/gradcheck.js'
export { noGrad } from '../autograd/tape.js'
export {
  abs, add, all, any, argmax, argmin, cat, ceil, clip, clone, cos, cumsum, div, eq, erf, exp, expand,
  expm1, flatten, flip, floor, ge, gelu, gt, indexSelect, isFinite, isNaN, le, linear, log, log1p, logicalAnd,
  logicalNot, logicalOr, logicalXor, logSoftmax, logsumexp, lt, matmul, max, maximum, mean, min,
  minimum, mod, mul, ne, neg, norm, permute, pow, prod, reciprocal, relu, reshape, round, rsqrt, select, sigmoid, sign,
  silu, sin, slice, softmax, softplus, split, sqrt, square, squeeze, stack, sub, sum, tanh, transpose,
  unsqueeze, variance, where,
} from '../autograd/ops/index.js'
export { arange, eye, full, linspace, ones, onesLike, tensor, zeros, zerosLike } from './create.js'
export type { DType, TypedArray } from './dtype.js'
export type { ArrayLike, DataWithShape } from './interop.js'
export { scope } from './scope.js'
export type { Shape } from './shape.js'
export { clearRecycled, recycledMemory } from './storage.js'
export { type Nested, type Operand, Tensor } from './tensor.js'
