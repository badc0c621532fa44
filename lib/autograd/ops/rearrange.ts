/** Repeating, cutting, turning, padding and sliding: compositions of views, picks and copies. */

import {
  checkChoice,
  checkInteger,
  checkIntegers,
  checkNumber,
  checkOptions,
  wrong,
} from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { unaryInto } from '../../tensor/elementwise.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { checkAxes, checkAxis, type Shape, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { add, where } from './elementwise.js'
import { indexSelect } from './indexing.js'
import { copyInto, filled, onDevice } from './memory.js'
import { sum } from './reductions.js'
import {
  cat,
  expand,
  flipAxis,
  permute,
  reshape,
  select,
  slice,
  unsqueeze,
  viewOf,
} from './views.js'

// ---- cutting and joining ---------------------------------------------------------------------------

/** Cuts an axis into `count` pieces of equal size (the last may be shorter, or missing); views. */
export function chunk(x: ArrayLike, count: number, axis = 0): Tensor[] {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  checkInteger(count, 'count', 1)
  const extent = x.shape[a] as number
  const size = Math.max(1, Math.ceil(extent / count))
  const pieces = Math.max(1, Math.ceil(extent / size))
  return Array.from({ length: pieces }, (_, i) =>
    slice(x, a, i * size, Math.min(extent, (i + 1) * size)),
  )
}

/** The entries along an axis, which disappears; views. */
export function unbind(x: ArrayLike, axis = 0): Tensor[] {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  return Array.from({ length: x.shape[a] as number }, (_, i) => select(x, a, i))
}

/** Reverses an axis, or several; a view. */
export function flip(x: ArrayLike, axes: number | readonly number[]): Tensor {
  x = toTensor(x, 'x')
  return checkAxes(axes, x.rank, 'axes').reduce((y, axis) => flipAxis(y, axis), x)
}

/** Moves entries by `shift` places along an axis; what leaves at one end enters at the other. */
export function roll(x: ArrayLike, shift: number, axis: number): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  checkInteger(shift, 'shift')
  const extent = x.shape[a] as number
  if (extent === 0) return x
  const by = ((shift % extent) + extent) % extent
  if (by === 0) return x
  return cat([slice(x, a, extent - by), slice(x, a, 0, extent - by)], a)
}

/** Repeats the whole tensor: `counts` has one number an axis, and may have more in front. */
export function repeat(x: ArrayLike, counts: readonly number[]): Tensor {
  x = toTensor(x, 'x')
  if (!Array.isArray(counts) || counts.length < x.rank) {
    wrong('counts', `an array of at least ${x.rank} numbers`, counts)
  }
  for (const count of counts) checkInteger(count, 'counts', 0)
  const missing = counts.length - x.rank
  const shape = [...new Array<number>(missing).fill(1), ...x.shape]
  const apart = shape.flatMap((extent) => [1, extent])
  const wide = shape.flatMap((extent, i) => [counts[i] as number, extent])
  const result = shape.map((extent, i) => extent * (counts[i] as number))
  // Axes without repetition need no axis of their own: eight are the most there are.
  const needed = (list: number[]) =>
    list.filter((_, i) => i % 2 === 1 || (counts[i >> 1] as number) !== 1)
  return reshape(expand(reshape(x, needed(apart)), needed(wide)), result)
}

/**
 * Repeats every entry along an axis.
 *
 * @param counts one number for all entries, or one an entry
 */
export function repeatInterleave(
  x: ArrayLike,
  counts: number | readonly number[],
  axis: number,
): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const extent = x.shape[a] as number
  if (typeof counts === 'number') {
    checkInteger(counts, 'counts', 0)
    const shape = x.shape.with(a, extent * counts)
    if (x.rank < 8) {
      const apart = unsqueeze(x, a + 1)
      return reshape(expand(apart, apart.shape.with(a + 1, counts)), shape)
    }
  } else if (!Array.isArray(counts) || counts.length !== extent) {
    wrong('counts', `a number, or ${extent} of them`, counts)
  }
  const list = typeof counts === 'number' ? new Array<number>(extent).fill(counts) : counts
  const picks = list.flatMap((count, i) =>
    new Array<number>(checkInteger(count, 'counts', 0)).fill(i),
  )
  return indexSelect(x, picks, a)
}

// ---- triangles and diagonals -----------------------------------------------------------------------

function triangle(x: Tensor, keep: (row: number, column: number) => boolean): Tensor {
  if (x.rank < 2) {
    throw new ShapeError(`'x' has shape ${shownShape(x.shape)}, expected at least two axes`)
  }
  const [rows, columns] = x.shape.slice(-2) as [number, number]
  const mask = Tensor.empty([rows, columns], 'bool')
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) mask.array[i * columns + j] = keep(i, j) ? 1 : 0
  }
  return where(onDevice(mask, x.device), x, 0)
}

/** Zeros above the `diagonal`-th diagonal of each matrix (0: the main one, positive: above it). */
export function tril(x: ArrayLike, diagonal = 0): Tensor {
  x = toTensor(x, 'x')
  checkInteger(diagonal, 'diagonal')
  return triangle(x, (i, j) => j <= i + diagonal)
}

/** Zeros below the `diagonal`-th diagonal of each matrix. */
export function triu(x: ArrayLike, diagonal = 0): Tensor {
  x = toTensor(x, 'x')
  checkInteger(diagonal, 'diagonal')
  return triangle(x, (i, j) => j >= i + diagonal)
}

/** The `offset`-th diagonal of the planes of two axes, as the last axis; a view. */
export function diagonal(x: ArrayLike, offset = 0, a = -2, b = -1): Tensor {
  x = toTensor(x, 'x')
  checkInteger(offset, 'offset')
  const i = checkAxis(a, x.rank, 'a')
  const j = checkAxis(b, x.rank, 'b')
  if (i === j) wrong('b', `an axis that is not ${i}`, b)
  const row = Math.max(0, -offset)
  const column = Math.max(0, offset)
  const count = Math.max(0, Math.min((x.shape[i] as number) - row, (x.shape[j] as number) - column))
  const [si, sj] = [x.strides[i] as number, x.strides[j] as number]
  const others = (list: Shape) => list.filter((_, axis) => axis !== i && axis !== j)
  const y = viewOf(
    x,
    [...others(x.shape), count],
    [...others(x.strides), si + sj],
    count === 0 ? x.offset : x.offset + row * si + column * sj,
  )
  if (!tracked(x)) return y
  return record(y, [x], (g) => [embed(g, x.shape, offset, i, j)])
}

/** Zeros of a shape with `g` on a diagonal. */
function embed(g: Tensor, shape: Shape, offset: number, a: number, b: number): Tensor {
  const out = filled(shape, 0, g)
  unaryInto('copy', g, diagonal(out, offset, a, b))
  return tracked(g) ? record(out, [g], (h) => [diagonal(h, offset, a, b)]) : out
}

/** A square matrix with a vector on its `offset`-th diagonal, or that diagonal of a matrix. */
export function diag(x: ArrayLike, offset = 0): Tensor {
  x = toTensor(x, 'x')
  checkInteger(offset, 'offset')
  if (x.rank === 2) return diagonal(x, offset)
  if (x.rank !== 1) {
    throw new ShapeError(`'x' has shape ${shownShape(x.shape)}, expected a vector or a matrix`)
  }
  const n = x.size + Math.abs(offset)
  return embedDiagonal(x, [n, n], offset)
}

function embedDiagonal(x: Tensor, shape: Shape, offset: number): Tensor {
  const out = embed(x.detach(), shape, offset, 0, 1)
  return tracked(x) ? record(out, [x], (g) => [diagonal(g, offset, 0, 1)]) : out
}

/** The sum of the main diagonal of each matrix. */
export function trace(x: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  if (x.rank < 2) wrong('x', 'a tensor of at least two axes', x)
  return sum(diagonal(x), -1)
}

// ---- padding ---------------------------------------------------------------------------------------

const padModes = ['constant', 'reflect', 'replicate', 'circular'] as const

/** How pad() fills. */
export interface PadOptions {
  /** 'constant' by default; 'reflect' leaves out the edge itself. */
  mode?: (typeof padModes)[number]
  /** What 'constant' fills with; 0 by default. */
  value?: number
}

/**
 * Adds entries around a tensor.
 *
 * @param widths as in PyTorch: [before, after] of the last axis, then of the one before it, …;
 *   negative ones cut ('constant' only)
 */
export function pad(x: ArrayLike, widths: readonly number[], options: PadOptions = {}): Tensor {
  x = toTensor(x, 'x')
  const { mode = 'constant', value = 0 } = checkOptions(options)
  checkChoice(mode, 'mode', padModes)
  checkNumber(value, 'value')
  if (!Array.isArray(widths) || widths.length % 2 !== 0 || widths.length > 2 * x.rank) {
    wrong('widths', `an even number of integers, at most ${2 * x.rank}`, widths)
  }
  let y = x
  for (let i = 0; i < widths.length; i += 2) {
    const axis = x.rank - 1 - i / 2
    const before = checkInteger(widths[i], 'widths')
    const after = checkInteger(widths[i + 1], 'widths')
    if (before === 0 && after === 0) continue
    y =
      mode === 'constant'
        ? surround(y, axis, before, after, value)
        : mirror(y, axis, before, after, mode)
  }
  return y
}

function surround(x: Tensor, axis: number, before: number, after: number, value: number): Tensor {
  const extent = x.shape[axis] as number
  if (extent + before + after < 0) {
    throw new ShapeError(`'widths' ${before} and ${after} leave less than nothing of ${extent}`)
  }
  const inner = slice(x, axis, Math.max(0, -before), Math.max(0, extent + Math.min(0, after)))
  const [left, right] = [Math.max(0, before), Math.max(0, after)]
  if (left === 0 && right === 0) return inner
  const width = inner.shape[axis] as number
  const out = filled(x.shape.with(axis, left + width + right), value, x)
  unaryInto('copy', inner.detach(), slice(out, axis, left, left + width))
  return tracked(inner) ? record(out, [inner], (g) => [slice(g, axis, left, left + width)]) : out
}

function mirror(
  x: Tensor,
  axis: number,
  before: number,
  after: number,
  mode: Exclude<(typeof padModes)[number], 'constant'>,
): Tensor {
  const extent = x.shape[axis] as number
  const most = mode === 'reflect' ? extent - 1 : mode === 'circular' ? extent : Infinity
  for (const width of [before, after]) {
    if (width < 0 || width > most || extent === 0) {
      throw new ShapeError(
        `'widths' of ${width} in mode '${mode}' does not fit an axis of ${extent}`,
      )
    }
  }
  const source = (i: number) => {
    if (i >= 0 && i < extent) return i
    if (mode === 'replicate') return i < 0 ? 0 : extent - 1
    if (mode === 'circular') return (i + extent) % extent
    return i < 0 ? -i : 2 * (extent - 1) - i
  }
  const picks = Array.from({ length: before + extent + after }, (_, i) => source(i - before))
  return indexSelect(x, picks, axis)
}

// ---- windows ---------------------------------------------------------------------------------------

/** Windows of `size` entries along an axis, `step` apart: the axis counts them, a new last axis holds them; a view. */
export function unfold(x: ArrayLike, axis: number, size: number, step: number): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const extent = x.shape[a] as number
  checkInteger(size, 'size', 0, extent)
  checkInteger(step, 'step', 1)
  const count = Math.floor((extent - size) / step) + 1
  const stride = x.strides[a] as number
  const y = viewOf(
    x,
    [...x.shape.with(a, count), size],
    [...x.strides.with(a, stride * step), stride],
  )
  if (!tracked(x)) return y
  return record(y, [x], (g) => [foldAxis(g, a, extent, step)])
}

/** The adjoint of unfold(): adds windows where they came from. */
export function foldAxis(windows: Tensor, axis: number, extent: number, step: number): Tensor {
  const size = windows.shape.at(-1) as number
  const count = windows.shape[axis] as number
  const out = filled(windows.shape.slice(0, -1).with(axis, extent), 0, windows)
  // Entry j of all windows lies at distinct places.
  for (let j = 0; j < size && count > 0; j++) {
    const place = slice(out, axis, j, j + (count - 1) * step + 1, step)
    copyInto(place, add(place, select(windows.detach(), -1, j)))
  }
  if (!tracked(windows)) return out
  return record(out, [windows], (g) => [unfold(g, axis, size, step)])
}

// ---- grids -----------------------------------------------------------------------------------------

/** Coordinates of a grid from those along each axis: as many tensors of rank n as vectors; views. */
export function meshgrid(vectors: readonly ArrayLike[]): Tensor[] {
  if (!Array.isArray(vectors) || vectors.length === 0) {
    wrong('vectors', 'a list of at least one vector', vectors)
  }
  const list = vectors.map((v, i) => toTensor(v, `vectors[${i}]`))
  for (const [i, v] of list.entries()) {
    if (v.rank !== 1) wrong(`vectors[${i}]`, 'a tensor of one axis', v.shape)
  }
  const shape = list.map((v) => v.size)
  return list.map((v, i) =>
    expand(
      reshape(
        v,
        shape.map((n, k) => (k === i ? n : 1)),
      ),
      shape,
    ),
  )
}

/** Exchanges places of axes: axis `from[i]` goes to `to[i]`; a view. */
export function moveAxis(
  x: ArrayLike,
  from: number | readonly number[],
  to: number | readonly number[],
): Tensor {
  x = toTensor(x, 'x')
  const list = (value: number | readonly number[], name: string) =>
    (typeof value === 'number' ? [value] : checkIntegers(value, name)).map((axis) =>
      checkAxis(axis, x.rank, name),
    )
  const [sources, targets] = [list(from, 'from'), list(to, 'to')]
  if (
    sources.length !== targets.length ||
    new Set(sources).size !== sources.length ||
    new Set(targets).size !== targets.length
  ) {
    wrong('to', `${sources.length} different axes`, to)
  }
  const rest = x.shape.map((_, i) => i).filter((i) => !sources.includes(i))
  const order = x.shape.map((_, i) => {
    const at = targets.indexOf(i)
    return at >= 0 ? (sources[at] as number) : (rest.shift() as number)
  })
  return permute(x, order)
}
