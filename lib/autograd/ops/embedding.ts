/** Rows of a table by number, and the sums that are their gradient. */

import { begin, number, viewAs } from '../../engine/call.js'
import { checkInteger, checkOptions } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkFloating, toTensor } from '../../tensor/interop.js'
import { shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked, unread } from '../tape.js'
import { contiguous, copyInto, dense } from './memory.js'
import { tableSamples } from './samples.js'
import { slice } from './views.js'

/**
 * table[indices]: one row for every index.
 *
 * @param indexLike int32 of any shape, each in [0, rows)
 * @param tableLike [rows, width]
 * @param paddingIndex a row whose gradient stays zero, if any
 * @returns [...indices.shape, width]
 * @throws ArgumentError where an index names no row
 */
export function embedding(
  indexLike: ArrayLike,
  tableLike: ArrayLike,
  options: { paddingIndex?: number | undefined } = {},
): Tensor {
  const { paddingIndex } = checkOptions(options)
  const index = toTensor(indexLike, 'indices')
  const table = toTensor(tableLike, 'table')
  if (index.dtype !== 'int32') {
    throw new DTypeError(`'indices' has dtype ${index.dtype}, expected int32`)
  }
  checkFloating(table, 'table')
  if (table.rank !== 2) {
    throw new ShapeError(`'table' has shape ${shownShape(table.shape)}, expected [rows, width]`)
  }
  if (paddingIndex !== undefined) {
    checkInteger(paddingIndex, 'paddingIndex', 0, (table.shape[0] as number) - 1)
  }
  return gather(contiguous(index), table, paddingIndex ?? -1)
}

function gather(index: Tensor, table: Tensor, skip: number): Tensor {
  const rowsOf = dense(table)
  const width = table.shape[1] as number
  const out = Tensor.empty([...index.shape, width], table.dtype, table.device)
  begin()
  viewAs(rowsOf, rowsOf.shape, [width, 1])
  viewAs(index, [index.size], [1])
  viewAs(out, [index.size, width], [width, 1])
  native.gatherRows(rowsOf.buffer, index.buffer, out.buffer)
  if (!tracked(table)) return out
  const rows = table.shape[0] as number
  record(
    out,
    [table],
    (g) => [scatter(g, index, table, skip)],
    (g, samples) => (measure) => tableSamples(g, index, rows, skip, samples, measure),
  )
  return unread(out)
}

/** Zeros like the table, to whose rows those of `g` are added. */
function scatter(g: Tensor, index: Tensor, table: Tensor, skip: number): Tensor {
  const slopes = dense(g)
  const [rows, width] = table.shape as [number, number]
  const out = Tensor.empty(table.shape, g.dtype, g.device)
  begin()
  viewAs(slopes, [index.size, width], [width, 1])
  viewAs(index, [index.size], [1])
  viewAs(out, [rows, width], [width, 1])
  number(skip)
  native.scatterRows(slopes.buffer, index.buffer, out.buffer)
  if (!tracked(g)) return out
  return record(out, [g], (h) => {
    if (skip < 0) return [gather(index, h, skip)]
    const kept = h.clone()
    copyInto(slice(kept, 0, skip, skip + 1), 0)
    return [gather(index, kept, skip)]
  })
}
