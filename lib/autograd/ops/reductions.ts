/** Reductions and their gradients. */

import { wrong } from '../../engine/check.js'
import { type DType, isFloating } from '../../tensor/dtype.js'
import * as raw from '../../tensor/reduce.js'
import { checkAxes, checkAxis, type Shape, sizeOf } from '../../tensor/shape.js'
import type { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { div, eq, mul, sqrt, square, sub, where } from './elementwise.js'
import { cast } from './memory.js'
import { expand, flip, reshape } from './views.js'

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

export const sum = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('sum', x, axis, keepdim, summed(x.dtype), (g, x) => expand(g, x.shape))

export const mean = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  isFloating(x.dtype)
    ? reduction('mean', x, axis, keepdim, x.dtype, (g, x, _y, n) => expand(mul(g, 1 / n), x.shape))
    : mean(cast(x, 'float32'), axis, keepdim)

export const prod = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('prod', x, axis, keepdim, summed(x.dtype), (g, x, y) => div(mul(g, y), x))

/** Equal extremes share the gradient. */
const atExtreme = (g: Tensor, x: Tensor, y: Tensor): Tensor => {
  const hits = cast(eq(x, y), x.dtype)
  const axes = x.shape.map((_, i) => i).filter((i) => x.shape[i] !== y.shape[i])
  return mul(hits, div(g, axes.length > 0 ? sum(hits, axes, true) : hits))
}

export const max = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('max', x, axis, keepdim, x.dtype, atExtreme)

export const min = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('min', x, axis, keepdim, x.dtype, atExtreme)

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
export const argmax = (x: Tensor, axis?: number, keepdim = false): Tensor =>
  arg('argmax', x, axis, keepdim)
export const argmin = (x: Tensor, axis?: number, keepdim = false): Tensor =>
  arg('argmin', x, axis, keepdim)
export const any = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('any', x, axis, keepdim, 'bool')
export const all = (x: Tensor, axis?: Axes, keepdim = false): Tensor =>
  reduction('all', x, axis, keepdim, 'bool')

export function variance(x: Tensor, axis?: Axes, keepdim = false, correction = 1): Tensor {
  const axes = checkAxes(axis, x.rank)
  const count = axes.reduce((product, a) => product * (x.shape[a] as number), 1)
  const centred = sub(x, mean(x, axes, true))
  return div(sum(square(centred), axes, keepdim), Math.max(count - correction, 0))
}

/** √Σx²; the gradient at zero is zero. */
export function norm(x: Tensor, axis?: Axes, keepdim = false): Tensor {
  const axes = checkAxes(axis, x.rank)
  const y = sqrt(reduction('sumOfSquares', x.detach(), axes, true, x.dtype))
  if (tracked(x)) {
    record(y, [x], (g) => [where(eq(y, 0), 0, mul(g, div(x, y)))])
  }
  return keepdim ? y : reshape(y, without(x.shape, axes))
}

export function cumsum(x: Tensor, axis: number): Tensor {
  const a = checkAxis(axis, x.rank)
  const y = raw.cumulativeSum(x, a)
  return tracked(x) ? record(y, [x], (g) => [flip(cumsum(flip(g, a), a), a)]) : y
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
export function logsumexp(x: Tensor, axis?: Axes, keepdim = false): Tensor {
  const axes = checkAxes(axis, x.rank)
  const top = max(x.detach(), axes, true)
  const finite = where(eq(sub(top, top), 0), top, 0)
  const y = sum(sub(x, finite).exp(), axes, true).log().add(finite)
  return keepdim ? y : reshape(y, sizeOf(x.shape) === 0 ? y.shape : without(x.shape, axes))
}
