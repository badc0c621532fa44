/** Reductions and their gradients. */

import { checkNumber, wrong } from '../../engine/check.js'
import { type DType, isFloating } from '../../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import * as raw from '../../tensor/reduce.js'
import { checkAxes, checkAxis, type Shape, sameShape, sizeOf } from '../../tensor/shape.js'
import { type Operand, Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import {
  abs,
  type Closeness,
  div,
  eq,
  isClose,
  isNaN,
  logicalOr,
  mul,
  ne,
  pow,
  sqrt,
  square,
  sub,
  where,
} from './elementwise.js'
import { gather } from './indexing.js'
import { cast, onDevice } from './memory.js'
import { expand, reshape } from './views.js'

/** An axis, several, or all (default). */
export type Axes = number | number[] | undefined

const without = (shape: Shape, axes: readonly number[]) => shape.filter((_, i) => !axes.includes(i))
const withOnes = (shape: Shape, axes: readonly number[]) =>
  shape.map((extent, i) => (axes.includes(i) ? 1 : extent))

/** Reduces and drops the axes unless they are to be kept; `rule` works on the kept form. */
function reduction(
  op: raw.ReductionName,
  x: Tensor,
  axis: Axes,
  keepdim: boolean,
  dtype: DType,
  rule?: (g: Tensor, x: Tensor, y: Tensor, count: number) => Tensor,
): Tensor {
  const axes = checkAxes(axis, x.rank)
  const y = raw.reduce(op, x, axes, dtype)
  if (rule && tracked(x)) {
    const count = axes.reduce((product, a) => product * (x.shape[a] as number), 1)
    record(y, [x], (g) => [rule(g, x, y, count)])
  }
  return keepdim ? y : reshape(y, without(x.shape, axes))
}

const summed = (dtype: DType): DType => (isFloating(dtype) ? dtype : 'int32')

export function sum(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('sum', x, axis, keepdim, summed(x.dtype), (g, x) => expand(g, x.shape))
}

export function mean(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return isFloating(x.dtype)
    ? reduction('mean', x, axis, keepdim, x.dtype, (g, x, _y, n) => expand(mul(g, 1 / n), x.shape))
    : mean(cast(x, 'float32'), axis, keepdim)
}

export function prod(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('prod', x, axis, keepdim, summed(x.dtype), otherFactors)
}

/** g times the product of the other factors: where one of them is zero, that of the rest counts. */
function otherFactors(g: Tensor, x: Tensor, y: Tensor): Tensor {
  const zero = eq(x, 0)
  if (!any(zero).item()) return div(mul(g, y), x)
  const axes = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== y.shape[i])
  const zeros = axes.length > 0 ? sum(cast(zero, 'int32'), axes, true) : cast(zero, 'int32')
  const rest = where(zero, 1, x)
  const product = axes.length > 0 ? prod(rest, axes, true) : rest
  const others = where(
    zero,
    where(eq(zeros, 1), product, 0),
    where(eq(zeros, 0), div(product, rest), 0),
  )
  return mul(g, others)
}

/** Equal extremes share the gradient. */
const atExtreme = (g: Tensor, x: Tensor, y: Tensor): Tensor => {
  const hits = cast(eq(x, y), x.dtype)
  const axes = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== y.shape[i])
  return mul(hits, div(g, axes.length > 0 ? sum(hits, axes, true) : hits))
}

export function max(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('max', x, axis, keepdim, x.dtype, atExtreme)
}

export function min(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('min', x, axis, keepdim, x.dtype, atExtreme)
}

function arg(
  op: 'argmax' | 'argmin',
  x: Tensor,
  axis: number | undefined,
  keepdim: boolean,
): Tensor {
  if (axis === undefined) return arg(op, reshape(x, [-1]), 0, keepdim)
  if (typeof axis !== 'number') wrong('axis', 'one axis', axis)
  return reduction(op, x, axis, keepdim, 'int32')
}

/** The index of the largest element (the first among equals), along an axis or of the flattened tensor. */
export function argmax(x: ArrayLike, axis?: number, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return arg('argmax', x, axis, keepdim)
}
export function argmin(x: ArrayLike, axis?: number, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return arg('argmin', x, axis, keepdim)
}
export function any(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('any', x, axis, keepdim, 'bool')
}
export function all(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  return reduction('all', x, axis, keepdim, 'bool')
}

/** Whether every entry of a is close to b's (isClose). */
export const allClose = (a: Operand, b: Operand, options?: Closeness): boolean =>
  all(isClose(a, b, options)).item() === 1

/** Whether two tensors have one shape and the same entries. */
export function equal(a: ArrayLike, b: ArrayLike): boolean {
  const [x, y] = [toTensor(a, 'a'), toTensor(b, 'b')]
  return sameShape(x.shape, y.shape) && all(eq(x, y)).item() === 1
}

export function variance(x: ArrayLike, axis?: Axes, keepdim = false, correction = 1): Tensor {
  x = toTensor(x, 'x')
  const axes = checkAxes(axis, x.rank)
  const count = axes.reduce((product, a) => product * (x.shape[a] as number), 1)
  checkNumber(correction, 'correction')
  const centred = sub(x, mean(x, axes, true))
  return div(sum(square(centred), axes, keepdim), Math.max(count - correction, 0))
}

/** The square root of variance(). */
export function std(x: ArrayLike, axis?: Axes, keepdim = false, correction = 1): Tensor {
  x = toTensor(x, 'x')
  return sqrt(variance(x, axis, keepdim, correction))
}

/**
 * The p-norm (Σ|x|^p)^(1/p): 2 by default, 1, any positive number, ±Infinity (the largest or smallest
 * magnitude), or 0 (how many entries are not zero, without a gradient). The gradient at zero is zero.
 */
export function norm(x: ArrayLike, axis?: Axes, keepdim = false, p = 2): Tensor {
  x = toTensor(x, 'x')
  checkNumber(p, 'p')
  const axes = checkAxes(axis, x.rank)
  if (!isFloating(x.dtype)) return norm(cast(x, 'float32'), axis, keepdim, p)
  const y = pNorm(x, axes, p)
  return keepdim ? y : reshape(y, without(x.shape, axes))
}

function pNorm(x: Tensor, axes: number[], p: number): Tensor {
  if (p === 0) return sum(cast(ne(x, 0), x.dtype), axes, true)
  if (p === 1) return sum(abs(x), axes, true)
  if (p === Infinity) return max(abs(x), axes, true)
  if (p === -Infinity) return min(abs(x), axes, true)
  if (p === 2) {
    const y = sqrt(reduction('sumOfSquares', x.detach(), axes, true, x.dtype))
    if (!tracked(x)) return y
    return record(y, [x], (g) => [where(eq(y, 0), 0, mul(g, div(x, y)))])
  }
  // By the largest magnitude, so that no power overflows.
  const top = max(abs(x.detach()), axes, true)
  const scale = where(logicalOr(eq(top, 0), eq(top, Infinity)), 1, top)
  const magnitudes = abs(div(x, scale))
  // 0^p is flat for p > 1, but its rule would divide by zero where p < 1.
  const powers = where(eq(magnitudes, 0), 0, pow(where(eq(magnitudes, 0), 1, magnitudes), p))
  const total = sum(powers, axes, true)
  const root = pow(where(eq(total, 0), 1, total), 1 / p)
  return mul(where(eq(total, 0), 0, root), scale)
}

// ---- running reductions ----------------------------------------------------------------------------

function runningSum(x: Tensor, axis: number, reverse: boolean): Tensor {
  const y = raw.cumulative('sum', x, axis, summed(x.dtype), reverse)
  return tracked(x) ? record(y, [x], (g) => [runningSum(g, axis, !reverse)]) : y
}

/** Running sums along an axis. */
export function cumsum(x: ArrayLike, axis: number): Tensor {
  x = toTensor(x, 'x')
  return runningSum(x, checkAxis(axis, x.rank), false)
}

/** Running products along an axis. */
export function cumprod(x: ArrayLike, axis: number): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const y = raw.cumulative('prod', x, a, summed(x.dtype))
  if (!tracked(x)) return y
  return record(y, [x], (g) => {
    // dx_i = Σ_{j≥i} g_j·Π_{k≤j, k≠i} x_k.
    const back = (h: Tensor) => runningSum(h, a, true)
    const zero = eq(x, 0)
    if (!any(zero).item()) return [div(back(mul(g, y)), x)]
    // Products without the zeros count as long as there is none, or x_i is the first.
    const zeros = raw.cumulative('sum', zero, a, 'int32')
    const rest = where(zero, 1, x)
    const h = mul(g, cumprod(rest, a))
    const first = where(eq(zeros, 1), back(where(eq(zeros, 1), h, 0)), 0)
    return [where(zero, first, div(back(where(eq(zeros, 0), h, 0)), rest))]
  })
}

/** The running extreme of an axis and where it stands (the last among equals). */
function runningExtreme(op: 'max' | 'min', x: Tensor, axis: number) {
  const a = checkAxis(axis, x.rank)
  const values = raw.cumulative(op, x.detach(), a, x.dtype)
  const n = x.shape[a] as number
  const counted = Tensor.from({ data: Int32Array.from({ length: n }, (_, i) => i), shape: [n] })
  const places = onDevice(counted, x.device)
  const along = reshape(
    places,
    x.shape.map((_, i) => (i === a ? n : 1)),
  )
  // NaN differs from itself: where it reigns, it stands.
  const stands = logicalOr(eq(x.detach(), values), isNaN(x.detach()))
  const indices = raw.cumulative('max', where(stands, expand(along, x.shape), 0), a, 'int32')
  return { values: tracked(x) ? gather(x, a, indices) : values, indices }
}

/** Running maxima along an axis and their indices. */
export function cummax(x: ArrayLike, axis: number): { values: Tensor; indices: Tensor } {
  x = toTensor(x, 'x')
  return runningExtreme('max', x, axis)
}

/** Running minima along an axis and their indices. */
export function cummin(x: ArrayLike, axis: number): { values: Tensor; indices: Tensor } {
  x = toTensor(x, 'x')
  return runningExtreme('min', x, axis)
}

/** Sums a gradient down to the shape of the operand that was broadcast to it. */
export function sumTo(grad: Tensor, shape: Shape): Tensor {
  const missing = grad.rank - shape.length
  const axes = grad.shape
    .map((extent, i) => (i < missing || (shape[i - missing] === 1 && extent !== 1) ? i : -1))
    .filter((i) => i >= 0)
  const total = axes.length > 0 ? sum(grad, axes, true) : grad
  return missing > 0 ? reshape(total, withOnes(shape, [])) : total
}

/** log Σ exp(x), without overflow. */
export function logsumexp(x: ArrayLike, axis?: Axes, keepdim = false): Tensor {
  x = toTensor(x, 'x')
  const axes = checkAxes(axis, x.rank)
  const top = max(x.detach(), axes, true)
  const finite = where(eq(sub(top, top), 0), top, 0)
  const y = sum(sub(x, finite).exp(), axes, true).log().add(finite)
  return keepdim ? y : reshape(y, sizeOf(x.shape) === 0 ? y.shape : without(x.shape, axes))
}
