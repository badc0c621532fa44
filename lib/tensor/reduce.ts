/** Reductions of tensors, without gradients. */

import { begin, number, view } from '../engine/call.js'
import { native } from '../engine/native.js'
import type { DType } from './dtype.js'
import { Tensor } from './tensor.js'

/** In the order of native/include/palimpsest/kernels/reduce.h. */
const names = [
  'sum',
  'mean',
  'prod',
  'max',
  'min',
  'sumOfSquares',
  'sumOfMagnitudes',
  'argmax',
  'argmin',
  'any',
  'all',
] as const

export type ReductionName = (typeof names)[number]

/** Reduces the given axes to extent 1. */
export function reduce(
  op: ReductionName,
  x: Tensor,
  axes: readonly number[],
  dtype: DType,
): Tensor {
  const shape = [...x.shape]
  let mask = 0
  for (const axis of axes) {
    shape[axis] = 1
    mask |= 1 << axis
  }
  const out = Tensor.empty(shape, dtype, x.device)
  begin()
  view(x)
  view(out)
  number(names.indexOf(op))
  number(mask)
  native.reduce(x.buffer, out.buffer)
  return out
}

/** Running sums along an axis. */
export function cumulativeSum(x: Tensor, axis: number): Tensor {
  const out = Tensor.empty(x.shape, x.dtype, x.device)
  begin()
  view(x)
  view(out)
  number(axis)
  native.cumulativeSum(x.buffer, out.buffer)
  return out
}

/** Whether no element is NaN or infinite. */
export function allFinite(x: Tensor): boolean {
  begin()
  view(x)
  return native.allFinite(x.buffer) === 1
}
