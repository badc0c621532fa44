/** Picking entries by index, by mask, and putting them back. Indices are int32 and not negative. */

import {
  checkChoice,
  checkInteger,
  checkIntegers,
  checkNumber,
  checkOptions,
  wrong,
} from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { checkDType, type DType, isFloating } from '../../tensor/dtype.js'
import * as raw from '../../tensor/indexing.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import {
  checkAxis as axisOf,
  broadcastShapes,
  type Shape,
  sameShape,
  shownShape,
} from '../../tensor/shape.js'
import { type Operand, Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { div, eq, mul, where } from './elementwise.js'
import { cast, clone, contiguous, filled, fullLike, numbers, onDevice } from './memory.js'
import { expand, reshape, slice } from './views.js'

/** Indices: an int32 tensor, or numbers in a list. */
export type Indices = ArrayLike | readonly number[]

function indicesOf(value: Indices, name = 'index'): Tensor {
  const index = Array.isArray(value)
    ? toTensor({ data: Int32Array.from(checkIntegers(value, name)), shape: [value.length] }, name)
    : toTensor(value, name)
  if (index.dtype !== 'int32')
    throw new DTypeError(`'${name}' has dtype ${index.dtype}, expected int32`)
  return index
}

/** A list of indices, as `indexSelect` and its kin take them. */
function listOf(value: Indices, name = 'indices'): Tensor {
  const index = indicesOf(value, name)
  if (index.rank !== 1)
    throw new ShapeError(`'${name}' has shape ${shownShape(index.shape)}, expected one axis`)
  return index
}

/** The leading part of `x` that an index of this shape reaches: all of it along `axis`. */
function reached(x: Tensor, shape: Shape, axis: number, name: string): Tensor {
  if (x.rank !== shape.length) {
    throw new ShapeError(
      `'index' has shape ${shownShape(shape)}, '${name}' ${shownShape(x.shape)}: they need as many axes`,
    )
  }
  let part = x
  for (let i = 0; i < shape.length; i++) {
    const extent = shape[i] as number
    if (i === axis || extent === x.shape[i]) continue
    if (extent > (x.shape[i] as number)) {
      throw new ShapeError(
        `'index' of shape ${shownShape(shape)} is longer than '${name}' of shape ${shownShape(x.shape)}`,
      )
    }
    part = slice(part, i, 0, extent)
  }
  return part
}

// ---- gather and scatter ----------------------------------------------------------------------------

/** Both kinds of index: of the result's shape, or a list for whole slices. */
function pick(x: Tensor, axis: number, places: Tensor): Tensor {
  const index = onDevice(places, x.device)
  const out = raw.gather(x, axis, index)
  if (!tracked(x)) return out
  return record(out, [x], (g) => [sumInto(g, axis, index, x.shape)])
}

/** Adds the entries of `g` into zeros. bfloat16 is summed in float32. */
function sumInto(g: Tensor, axis: number, index: Tensor, shape: Shape): Tensor {
  const dtype = g.dtype === 'bfloat16' ? 'float32' : g.dtype
  const zeros = filled(shape, 0, g, dtype)
  const out = raw.scatterInto(
    zeros,
    axis,
    index,
    g.dtype === dtype ? g : cast(g.detach(), dtype),
    'add',
  )
  const sums = cast(out, g.dtype)
  return tracked(g) ? record(sums, [g], (h) => [pick(h, axis, index)]) : sums
}

/**
 * out[…, i, …] = x[…, index[…, i, …], …] along an axis; repeats are allowed and their gradients add up.
 *
 * @param index int32, as many axes as x; off the axis it may be shorter
 */
export function gather(x: ArrayLike, axis: number, index: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const i = indicesOf(index)
  return pick(reached(x, i.shape, a, 'x'), a, i)
}

/** The entries along an axis that `indices` (int32, rank 1) name, in that order. */
export function indexSelect(x: ArrayLike, indices: Indices, axis = 0): Tensor {
  x = toTensor(x, 'x')
  return pick(x, axisOf(axis, x.rank), listOf(indices))
}

/** A copy of `x` with the entries of `src` at `index`: of src's shape, or a list for whole slices. */
function place(x: Tensor, axis: number, index: Tensor, src: Tensor, mode: raw.ScatterMode): Tensor {
  const out = clone(x.detach())
  const target = index.rank === x.rank ? reached(out, index.shape, axis, 'x') : out
  raw.scatterInto(target, axis, onDevice(index, x.device), onDevice(src, x.device), mode)
  return out
}

/** The source of a scatter: a number becomes a tensor, a longer one is cut to the index. */
function sourceOf(src: Operand, x: Tensor, shape: Shape): Tensor {
  if (typeof src === 'number') {
    return expand(filled([], src, x), shape)
  }
  return cast(reached(toTensor(src, 'src'), shape, -1, 'src'), x.dtype)
}

function scatterOf(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  const out = place(x, axis, index, src.detach(), 'assign')
  if (!tracked(x, src)) return out
  return record(out, [x, src], (g) => [
    x.requiresGrad ? scatterOf(g, axis, index, cleared(src, g.dtype)) : null,
    src.requiresGrad ? mul(pickReached(g, axis, index), winners(x.shape, axis, index, src)) : null,
  ])
}

const cleared = (like: Tensor, dtype: DType) => expand(filled([], 0, like, dtype), like.shape)

const pickReached = (x: Tensor, axis: number, index: Tensor) =>
  pick(index.rank === x.rank ? reached(x, index.shape, axis, 'x') : x, axis, index)

/** 1 for the entries that no later one overwrote, else 0. */
function winners(shape: Shape, axis: number, index: Tensor, src: Tensor): Tensor {
  const order = Tensor.from({
    data: Int32Array.from({ length: src.size }, (_, i) => i),
    shape: src.shape,
  })
  const last = place(filled(shape, 0, src, 'int32'), axis, index, order, 'assign')
  return cast(eq(pickReached(last, axis, index), order), src.dtype)
}

/**
 * A copy of `x` with out[…, index[…, i, …], …] = src[…, i, …] along an axis. Of several entries for one
 * place the last wins, and alone has a gradient.
 *
 * @param index int32, as many axes as x; off the axis it may be shorter
 * @param src a number, or a tensor at least as long as the index along every axis
 */
export function scatter(x: ArrayLike, axis: number, index: ArrayLike, src: Operand): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const i = indicesOf(index)
  return scatterOf(x, a, i, sourceOf(src, x, i.shape))
}

function addAt(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  const out = place(x, axis, index, src.detach(), 'add')
  if (!tracked(x, src)) return out
  return record(out, [x, src], (g) => [g, src.requiresGrad ? pickReached(g, axis, index) : null])
}

/** As scatter(), but adds: several entries for one place are summed, in order. */
export function scatterAdd(x: ArrayLike, axis: number, index: ArrayLike, src: Operand): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const i = indicesOf(index)
  return addAt(x, a, i, sourceOf(src, x, i.shape))
}

const reductions = ['sum', 'prod', 'mean', 'amax', 'amin'] as const

/** How scatterReduce combines entries, in PyTorch's words. */
export type ScatterReduction = (typeof reductions)[number]

const neutral: Record<ScatterReduction, number> = {
  sum: 0,
  mean: 0,
  prod: 1,
  amax: -Infinity,
  amin: Infinity,
}

/**
 * As scatter(), but combines the entries for one place with what is there (`includeSelf`, default), or
 * among themselves alone. Equal extremes share the gradient.
 */
export function scatterReduce(
  x: ArrayLike,
  axis: number,
  index: ArrayLike,
  src: Operand,
  mode: ScatterReduction,
  includeSelf = true,
): Tensor {
  x = toTensor(x, 'x')
  checkChoice(mode, 'mode', reductions)
  const a = axisOf(axis, x.rank)
  const i = indicesOf(index)
  const s = sourceOf(src, x, i.shape)
  const low = isFloating(x.dtype)
    ? neutral[mode]
    : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, neutral[mode]))
  const base = includeSelf ? x : scatter(x, a, i, low)
  if (mode === 'sum') return addAt(base, a, i, s)
  if (mode === 'mean') {
    const one = fullLike(x.detach(), 1)
    const self = includeSelf ? one : scatter(one, a, i, 0)
    const counts = addAt(self, a, i, sourceOf(1, x, i.shape))
    return cast(div(addAt(base, a, i, s), counts), x.dtype)
  }
  return mode === 'prod' ? productAt(base, a, i, s) : extremeAt(base, a, i, s, mode)
}

function extremeAt(
  x: Tensor,
  axis: number,
  index: Tensor,
  src: Tensor,
  mode: 'amax' | 'amin',
): Tensor {
  const out = place(x, axis, index, src.detach(), mode === 'amax' ? 'maximum' : 'minimum')
  if (!tracked(x, src)) return out
  return record(out, [x, src], (g) => {
    const mine = cast(eq(x, out), g.dtype)
    const theirs = cast(eq(src, pickReached(out, axis, index)), g.dtype)
    const shared = div(g, addAt(mine, axis, index, theirs))
    return [
      x.requiresGrad ? mul(shared, mine) : null,
      src.requiresGrad ? mul(pickReached(shared, axis, index), theirs) : null,
    ]
  })
}

function productAt(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  const out = place(x, axis, index, src.detach(), 'multiply')
  if (!tracked(x, src)) return out
  return record(out, [x, src], (g) => {
    // The product without the zeros, and their number, tell the product of the other factors.
    const zeros = addAt(cast(eq(x, 0), g.dtype), axis, index, cast(eq(src, 0), g.dtype))
    const rest = productAt(where(eq(x, 0), 1, x), axis, index, where(eq(src, 0), 1, src))
    const others = (factor: Tensor, product: Tensor, count: Tensor) =>
      where(
        eq(factor, 0),
        where(eq(count, 1), product, 0),
        where(eq(count, 0), div(product, factor), 0),
      )
    const at = (y: Tensor) => pickReached(y, axis, index)
    return [
      x.requiresGrad ? mul(g, others(x, rest, zeros)) : null,
      src.requiresGrad ? mul(at(g), others(src, at(rest), at(zeros))) : null,
    ]
  })
}

// ---- whole slices ----------------------------------------------------------------------------------

function sliceShape(x: Tensor, axis: number, index: Tensor, src: Tensor): void {
  if (!sameShape(src.shape, x.shape.with(axis, index.size))) {
    throw new ShapeError(
      `'src' has shape ${shownShape(src.shape)}, expected ${shownShape(x.shape.with(axis, index.size))}`,
    )
  }
}

/** A copy of `x` with alpha·src[…, i, …] added to the slices that `indices` name along an axis. */
export function indexAdd(
  x: ArrayLike,
  axis: number,
  indices: Indices,
  src: ArrayLike,
  alpha = 1,
): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const index = listOf(indices)
  const s = cast(toTensor(src, 'src'), x.dtype)
  checkNumber(alpha, 'alpha')
  sliceShape(x, a, index, s)
  return addAt(x, a, index, alpha === 1 ? s : cast(mul(s, alpha), x.dtype))
}

/** A copy of `x` whose slices that `indices` name along an axis are those of `src`. */
export function indexCopy(x: ArrayLike, axis: number, indices: Indices, src: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const index = listOf(indices)
  const s = cast(toTensor(src, 'src'), x.dtype)
  sliceShape(x, a, index, s)
  return scatterOf(x, a, index, s)
}

/** A copy of `x` with one value in the slices that `indices` name along an axis. */
export function indexFill(x: ArrayLike, axis: number, indices: Indices, value: number): Tensor {
  x = toTensor(x, 'x')
  const a = axisOf(axis, x.rank)
  const index = listOf(indices)
  checkNumber(value, 'value')
  return scatterOf(x, a, index, sourceOf(value, x, x.shape.with(a, index.size)))
}

// ---- masks -----------------------------------------------------------------------------------------

/** A copy of `x` with `value` where the mask (bool, broadcast) is set. */
export function maskedFill(x: ArrayLike, mask: ArrayLike, value: number): Tensor {
  x = toTensor(x, 'x')
  return where(toTensor(mask, 'mask'), checkNumber(value, 'value'), x)
}

/** The entries where the mask is set, in order, on one axis. Mask and tensor broadcast. */
export function maskedSelect(x: ArrayLike, mask: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  const m = toTensor(mask, 'mask')
  const shape = broadcastShapes(x.shape, m.shape)
  const where = raw.positionsOf(contiguous(expand(m, shape).detach()))
  return pick(reshape(expand(x, shape), [-1]), 0, where)
}

/** The indices of the entries that are not zero: int32 [count, rank], in row-major order. */
export function nonzero(x: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  const positions = raw.positionsOf(contiguous(x.detach()))
  const flat = numbers(positions)
  const out = Tensor.empty([positions.size, x.rank], 'int32')
  for (let i = 0; i < positions.size; i++) {
    let rest = flat[i] as number
    for (let axis = x.rank - 1; axis >= 0; axis--) {
      const extent = x.shape[axis] as number
      out.array[i * x.rank + axis] = rest % extent
      rest = Math.floor(rest / extent)
    }
  }
  return onDevice(out, x.device)
}

// ---- classes ---------------------------------------------------------------------------------------

/**
 * One more axis with a 1 at the label and 0 elsewhere.
 *
 * @param labels int32 of any shape
 * @param classes one more than the largest label by default
 */
export function oneHot(labels: Indices, classes = -1, options: { dtype?: DType } = {}): Tensor {
  const dtype = checkDType(checkOptions(options).dtype ?? 'int32')
  const index = indicesOf(labels, 'labels')
  checkInteger(classes, 'classes', -1)
  const top = largestLabel(index)
  if (classes >= 0 && top >= classes) wrong('labels', `labels below ${classes}`, top)
  const count = classes === -1 ? top + 1 : classes
  const zeros = filled([...index.shape, count], 0, index, dtype)
  if (index.size === 0) return zeros
  const axis = index.rank
  const at = reshape(index, [...index.shape, 1])
  return raw.scatterInto(zeros, axis, at, sourceOf(1, zeros, at.shape), 'assign')
}

/** The largest label, −1 where there is none. */
function largestLabel(labels: Tensor): number {
  let top = -1
  for (const label of numbers(labels)) {
    if (label < 0) wrong('labels', 'labels from 0 on', label)
    if (label > top) top = label
  }
  return top
}

/**
 * How often each of 0 … occurs among the labels, or the sum of their weights.
 *
 * @param minLength the least length of the result
 */
export function bincount(
  labels: Indices,
  options: { weights?: ArrayLike; minLength?: number } = {},
): Tensor {
  const { weights, minLength = 0 } = checkOptions(options)
  const index = listOf(labels, 'labels')
  checkInteger(minLength, 'minLength', 0)
  const length = Math.max(minLength, largestLabel(index) + 1)
  const w = weights === undefined ? null : toTensor(weights, 'weights')
  if (w && !sameShape(w.shape, index.shape)) {
    wrong('weights', `a tensor of shape ${shownShape(index.shape)}`, w.shape)
  }
  const zeros = filled([length], 0, index, w ? w.dtype : 'int32')
  return addAt(zeros, 0, index, w ?? sourceOf(1, zeros, index.shape))
}
