/** Reductions of tensors, without gradients. */

import { begin, number, view } from '../engine/call.js'
import { native } from '../engine/native.js'
import type { DType } from './dtype.js'
import { unary } from './elementwise.js'
import { sameShape } from './shape.js'
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

/** Those that leave a single element as it is. */
const copying: ReadonlySet<ReductionName> = new Set(['sum', 'mean', 'prod', 'max', 'min'])

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
  if (sameShape(shape, x.shape) && copying.has(op)) return unary('copy', x, dtype)
  const out = Tensor.empty(shape, dtype, x.device)
  begin()
  view(x)
  view(out)
  number(names.indexOf(op))
  number(mask)
  native.reduce(x.buffer, out.buffer)
  return out
}

/** In the order of native/include/palimpsest/kernels/reduce.h. */
const cumulatives = ['sum', 'prod', 'max', 'min'] as const

export type CumulativeName = (typeof cumulatives)[number]

/** Running sums, products or extremes along an axis, from its end where `reverse`. */
export function cumulative(
  op: CumulativeName,
  x: Tensor,
  axis: number,
  dtype: DType,
  reverse = false,
): Tensor {
  const source = x.dtype === dtype ? x : unary('copy', x, dtype)
  const out = Tensor.empty(x.shape, dtype, x.device)
  begin()
  view(source)
  view(out)
  number(cumulatives.indexOf(op))
  number(axis)
  number(reverse)
  native.cumulative(source.buffer, out.buffer)
  return out
}

/** Whether no element is NaN or infinite. */
export function allFinite(x: Tensor): boolean {
  begin()
  view(x)
  return native.allFinite(x.buffer) === 1
}
