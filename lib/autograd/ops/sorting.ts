/** Order along an axis: equal entries keep theirs, NaN counts as the largest. */

import { begin, number, viewAs } from '../../engine/call.js'
import { checkInteger } from '../../engine/check.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { checkAxis } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { gather } from './indexing.js'
import { cast, contiguous } from './memory.js'
import { transpose } from './views.js'

/** Entries in order and where they were (int32). */
export interface Sorted {
  values: Tensor
  indices: Tensor
}

/** The places of the first `k` entries along an axis in order. */
function places(x: Tensor, a: number, k: number, descending: boolean): Tensor {
  const last = x.rank - 1
  const plain = x.detach()
  // bool and uint8 have few values; the kernel orders int32 and floats.
  const wide = x.dtype === 'bool' || x.dtype === 'uint8' ? cast(plain, 'int32') : plain
  const rows = contiguous(transpose(wide, a, last))
  const cols = rows.shape[last] as number
  const count = cols === 0 ? 0 : rows.size / cols
  const indices = Tensor.empty(rows.shape.with(last, k), 'int32', x.device)
  if (indices.size > 0) {
    begin()
    viewAs(rows, [count, cols], [cols, 1])
    viewAs(indices, [count, k], [k, 1])
    number(descending)
    native.sortRows(rows.buffer, null, indices.buffer)
  }
  return transpose(indices, a, last)
}

/** The entries along an axis in ascending (default) or descending order, and their indices. */
export function sort(x: ArrayLike, axis = -1, descending = false): Sorted {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const indices = places(x, a, x.shape[a] as number, descending)
  return { values: gather(x, a, indices), indices }
}

/** The indices that sort an axis: int32. */
export function argsort(x: ArrayLike, axis = -1, descending = false): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  return places(x, a, x.shape[a] as number, descending)
}

/** The k largest (or smallest) entries along an axis, the first of them first, and their indices. */
export function topk(x: ArrayLike, k: number, axis = -1, largest = true): Sorted {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  checkInteger(k, 'k', 0, x.shape[a] as number)
  const indices = places(x, a, k, largest)
  return { values: gather(x, a, indices), indices }
}
