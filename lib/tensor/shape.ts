/** Shapes and strides. */

import { checkInteger, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'

/** Extents, outermost first; [] is a scalar. */
export type Shape = readonly number[]

/** The most axes that a tensor may have (native/include/palimpsest/view.h). */
export const maxRank = 8

/** The number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1
  for (let i = 0; i < shape.length; i++) size *= shape[i] as number
  return size
}

/** Row-major strides. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride
    stride *= shape[i] as number
  }
  return strides
}

/** Whether elements lie one after the other in row-major order. */
export function isContiguous(shape: Shape, strides: Shape): boolean {
  let expected = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return false
    expected *= shape[i] as number
  }
  return true
}

/** A shape as messages show it. */
export const shownShape = (shape: Shape) => `[${shape.join(', ')}]`

/** Checks extents that a user gave. */
export function checkShape(shape: unknown, name = 'shape'): number[] {
  if (!Array.isArray(shape) || shape.length > maxRank) {
    return wrong(name, `an array of at most ${maxRank} extents`, shape)
  }
  for (const extent of shape) checkInteger(extent, name, 0)
  if (sizeOf(shape) > Number.MAX_SAFE_INTEGER) wrong(name, 'fewer than 2^53 elements', shape)
  return [...shape]
}

/** The axis in [0, rank) that a possibly negative number means. */
export function checkAxis(axis: unknown, rank: number, name = 'axis'): number {
  const low = Math.min(-rank, 0)
  const value = checkInteger(axis, name, low, Math.max(rank - 1, 0))
  if (rank === 0) throw new ShapeError(`'${name}' is ${value}, but a scalar has no axes`)
  return value < 0 ? value + rank : value
}

/** The axes that an optional argument means, in ascending order: all of them where it is missing. */
export function checkAxes(axes: unknown, rank: number, name = 'axis'): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: rank }, (_, i) => i)
  const list = (Array.isArray(axes) ? axes : [axes]).map((axis) => checkAxis(axis, rank, name))
  if (new Set(list).size !== list.length) wrong(name, 'axes that differ', axes)
  return list.sort((a, b) => a - b)
}

/** The common shape of two operands: extents are equal, or one of them is 1. */
export function broadcastShapes(a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  const shape = new Array<number>(rank)
  for (let i = 1; i <= rank; i++) {
    const x = i <= a.length ? (a[a.length - i] as number) : 1
    const y = i <= b.length ? (b[b.length - i] as number) : 1
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`shapes ${shownShape(a)} and ${shownShape(b)} do not broadcast`)
    }
    shape[rank - i] = x === 1 ? y : x
  }
  return shape
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Strides that show an operand at a larger shape: 0 along what is repeated. */
export function broadcastStrides(shape: Shape, strides: Shape, to: Shape): number[] {
  const missing = to.length - shape.length
  const result = new Array<number>(to.length).fill(0)
  for (let i = 0; i < shape.length; i++) {
    const extent = shape[i] as number
    const target = to[missing + i] as number
    if (extent !== target && extent !== 1) {
      throw new ShapeError(`shape ${shownShape(shape)} does not expand to ${shownShape(to)}`)
    }
    result[missing + i] = extent === target ? (strides[i] as number) : 0
  }
  if (missing < 0) {
    throw new ShapeError(`shape ${shownShape(shape)} does not expand to ${shownShape(to)}`)
  }
  return result
}

/** Strides for another shape of the same elements without a copy, or null where one is needed. */
export function reshapedStrides(shape: Shape, strides: Shape, to: Shape): number[] | null {
  if (isContiguous(shape, strides)) return stridesOf(to)
  // Groups of axes that are contiguous among themselves must each be split or merged as a whole.
  const result = new Array<number>(to.length).fill(1)
  const kept = shape
    .map((extent, i) => ({ extent, stride: strides[i] as number }))
    .filter((d) => d.extent !== 1)
  let from = 0
  let at = 0
  while (from < kept.length && at < to.length) {
    let old = (kept[from] as { extent: number }).extent
    let fresh = to[at] as number
    const first = at
    let last = from
    while (old !== fresh) {
      if (old < fresh) {
        const next = kept[++last]
        if (!next) return null
        const previous = kept[last - 1] as { stride: number }
        if (previous.stride !== next.stride * next.extent) return null
        old *= next.extent
      } else {
        if (++at >= to.length) return null
        fresh *= to[at] as number
      }
    }
    let stride = (kept[last] as { stride: number }).stride
    for (let i = at; i >= first; i--) {
      result[i] = stride
      stride *= to[i] as number
    }
    from = last + 1
    at++
  }
  return from < kept.length ? null : result
}
