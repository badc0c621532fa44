/** Picking and placing entries by index, without gradients. */

import { begin, number, view, viewAs } from '../engine/call.js'
import { native } from '../engine/native.js'
import type { Shape } from './shape.js'
import { Tensor } from './tensor.js'

/** In the order of native/include/palimpsest/kernels/indexing.h. */
const modes = ['assign', 'add', 'multiply', 'maximum', 'minimum'] as const

/** How scattered entries meet what is there. */
export type ScatterMode = (typeof modes)[number]

/** Shows a list of indices along one axis as an index of a whole shape, without a copy. */
function writeIndex(index: Tensor, axis: number, shape: Shape): void {
  if (index.rank === 1 && shape.length !== 1) {
    const strides = shape.map((_, i) => (i === axis ? (index.strides[0] as number) : 0))
    viewAs(index, shape, strides)
  } else {
    view(index)
  }
}

/**
 * The entries of `x` that `index` names along an axis.
 *
 * @param index int32: of the result's shape, which is x's but for the axis, or a list for all of them
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const shape = x.rank === index.rank ? index.shape : x.shape.with(axis, index.size)
  return gatherInto(x, axis, index, Tensor.empty(shape, x.dtype, x.device))
}

/** gather() into a tensor that is there. */
export function gatherInto(x: Tensor, axis: number, index: Tensor, out: Tensor): Tensor {
  begin()
  view(x)
  writeIndex(index, axis, out.shape)
  view(out)
  number(axis)
  native.gather(x.buffer, index.buffer, out.buffer)
  return out
}

/** Combines the entries of `src` into those of `out` that `index` names along an axis, in order. */
export function scatterInto(
  out: Tensor,
  axis: number,
  index: Tensor,
  src: Tensor,
  mode: ScatterMode,
): Tensor {
  begin()
  view(out)
  writeIndex(index, axis, src.shape)
  view(src)
  number(axis)
  number(modes.indexOf(mode))
  native.scatter(out.buffer, index.buffer, src.buffer)
  return out
}

/** The row-major positions of the entries of a contiguous tensor that are not zero: int32, in order. */
export function positionsOf(x: Tensor): Tensor {
  begin()
  view(x)
  const count = native.nonzero(x.buffer, null) as number
  const out = Tensor.empty([count], 'int32', x.device)
  if (count === 0) return out
  begin()
  view(x)
  view(out)
  native.nonzero(x.buffer, out.buffer)
  return out
}
