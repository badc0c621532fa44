/** Picking entries by index. */

import { ArgumentError, DTypeError, ShapeError } from '../../engine/errors.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { checkAxis, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { contiguous } from './memory.js'
import { transpose } from './views.js'

/**
 * The entries along an axis that `indices` (int32, rank 1) name, in that order; repeats are allowed
 * and their gradients add up.
 */
export function indexSelect(x: Tensor, indices: ArrayLike | readonly number[], axis = 0): Tensor {
  const index = Array.isArray(indices)
    ? toTensor({ data: Int32Array.from(indices), shape: [indices.length] }, 'indices')
    : toTensor(indices, 'indices')
  if (index.dtype !== 'int32')
    throw new DTypeError(`'indices' has dtype ${index.dtype}, expected int32`)
  if (index.rank !== 1)
    throw new ShapeError(`'indices' has shape ${shownShape(index.shape)}, expected one axis`)
  const a = checkAxis(axis, x.rank)
  if (a !== 0) return transpose(indexSelect(transpose(x, 0, a), index, 0), 0, a)
  const extent = x.shape[0] as number
  const picks = contiguous(index)
  const list = picks.array.subarray(picks.offset, picks.offset + picks.size)
  for (const i of list) {
    if (i < 0 || i >= extent)
      throw new ArgumentError(`expected indices in [0, ${extent - 1}] but got ${i}`)
  }
  const dense = contiguous(x.detach())
  const width = extent === 0 ? 0 : dense.size / extent
  const out = Tensor.empty([list.length, ...x.shape.slice(1)], x.dtype)
  list.forEach((i, row) => {
    const from = dense.offset + i * width
    out.array.set(dense.array.subarray(from, from + width), row * width)
  })
  if (!tracked(x)) return out
  return record(out, [x], (g) => [scatterRows(g, list, x)])
}

/** Adds the rows of `g` to the rows of zeros that `list` names. */
function scatterRows(
  g: Tensor,
  list: ArrayLike | readonly number[] | Tensor['array'],
  like: Tensor,
): Tensor {
  const rows = list as ArrayLike & Int32Array
  const dense = contiguous(g)
  const out = Tensor.empty(like.shape, like.dtype)
  out.array.fill(0, 0, out.size)
  const width = rows.length === 0 ? 0 : dense.size / rows.length
  rows.forEach((i: number, row: number) => {
    for (let j = 0; j < width; j++) {
      out.array[i * width + j] =
        (out.array[i * width + j] as number) +
        (dense.array[dense.offset + row * width + j] as number)
    }
  })
  return tracked(g) ? record(out, [g], (h) => [indexSelect(h, Array.from(rows), 0)]) : out
}
