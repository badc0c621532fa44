/** Masks by scores: exactly k entries, of one tensor or of many together; N of every M. */

import { begin, number, view, viewAs, views } from '../engine/call.js'
import {
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
  wrong,
} from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { type NativeBuffer, native } from '../engine/native.js'
import { isFloating } from '../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { checkAxis, shownShape, sizeOf, stridesOf } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import { bitsOf, Mask } from './mask.js'

/** Whether scores count with or without their sign. */
export type ScoreBy = 'value' | 'magnitude'

/** Options of topK. One of `k` and `density` must be given. */
export interface TopKOptions {
  /** How many entries: of each tensor, or with the global scope of all together. */
  k?: number
  /** The part of the entries, in [0, 1]; k = density·entries, rounded to the nearest integer. */
  density?: number
  /** Whether each tensor of a list is treated by itself (default) or all as one. */
  scope?: 'tensor' | 'global'
  /** True by default; false takes the smallest. */
  largest?: boolean
  /** 'value' by default. */
  by?: ScoreBy
}

/** The scores as contiguous tensors of a dtype that can be ordered. */
function denseScores(x: ArrayLike, name: string): Tensor {
  const tensor = toTensor(x, name).detach()
  const orderable = tensor.dtype !== 'bool' && tensor.dtype !== 'uint8'
  const wide = orderable ? tensor : tensor.to('int32')
  return wide.contiguous ? wide : wide.clone()
}

/** k of `size` entries. */
function countOf({ k, density }: TopKOptions, size: number): number {
  if ((k === undefined) === (density === undefined)) {
    throw new ArgumentError("expected one of 'k' and 'density'")
  }
  if (k !== undefined) return checkInteger(k, 'k', 0, size)
  return Math.round(checkNumber(density, 'density', 0, 1) * size)
}

/** One native call: masks of the chosen entries over all of `list`, and the last score chosen. */
export function selectEntries(
  list: readonly Tensor[],
  k: number,
  largest: boolean,
  by: ScoreBy,
): { masks: Mask[]; threshold: number } {
  let threshold = NaN
  const shapes = list.map((x) => x.shape)
  const masks = Mask.writtenOn(list[0]?.device ?? 'cpu', shapes, (bits) => {
    if (list.length === 0) return
    begin()
    views(list)
    views(list.map((x) => bitsOf(x.size)))
    number(by === 'magnitude')
    number(largest)
    number(k)
    threshold = native.select(
      list.map((x) => x.buffer),
      bits,
    ) as number
  })
  return { masks, threshold }
}

/**
 * Exactly k entries by score: the largest (or smallest), of equal scores the first in row-major order
 * (with the global scope in the order of the list). −0 equals +0.
 *
 * @param scores one tensor, or a list of them, which gives a list of masks
 * @throws NumericalError where a score is NaN, ArgumentError where k is above the number of entries
 */
export function topK(scores: ArrayLike, options: TopKOptions): Mask
export function topK(scores: readonly ArrayLike[], options: TopKOptions): Mask[]
export function topK(
  scores: ArrayLike | readonly ArrayLike[],
  options: TopKOptions,
): Mask | Mask[] {
  if (typeof options !== 'object' || options === null)
    wrong('options', '{ k } or { density }', options)
  const scope = checkChoice(options.scope ?? 'tensor', 'scope', ['tensor', 'global'])
  const by = checkChoice(options.by ?? 'value', 'by', ['value', 'magnitude'])
  const { largest = true } = requireOptions(options)
  const one = !Array.isArray(scores)
  const list = (one ? [scores] : scores).map((x, i) =>
    denseScores(x as ArrayLike, one ? 'scores' : `scores[${i}]`),
  )
  if (scope === 'global' && !one) {
    if (new Set(list.map((x) => x.dtype)).size > 1) {
      throw new ArgumentError("expected 'scores' of one dtype for the global scope")
    }
    const total = list.reduce((n, x) => n + x.size, 0)
    return selectEntries(list, countOf(options, total), largest, by).masks
  }
  const counts = list.map((x) => countOf(options, x.size))
  const masks = list.map(
    (x, i) => selectEntries([x], counts[i] as number, largest, by).masks[0] as Mask,
  )
  return one ? (masks[0] as Mask) : masks
}

/**
 * N:M sparsity: of every `m` neighbours along an axis the `n` with the largest scores; of equal ones
 * the first.
 *
 * @param m at most 64; divides the axis
 * @param axis the last by default
 */
export function nm(
  scores: ArrayLike,
  n: number,
  m: number,
  axis = -1,
  options: { by?: ScoreBy } = {},
): Mask {
  const { by = 'value' } = checkOptions(options)
  const given = toTensor(scores, 'scores').detach()
  const x = denseScores(isFloating(given.dtype) ? given : given.to('float64'), 'scores')
  checkInteger(m, 'm', 1, 64)
  checkInteger(n, 'n', 0, m)
  checkChoice(by, 'by', ['value', 'magnitude'])
  const a = checkAxis(axis, x.rank)
  const length = x.shape[a] as number
  if (length % m !== 0) {
    throw new ShapeError(
      `axis ${axis} of 'scores' ${shownShape(x.shape)} is no multiple of m = ${m} long`,
    )
  }
  const shape = [sizeOf(x.shape.slice(0, a)), length, sizeOf(x.shape.slice(a + 1))]
  const [mask] = Mask.writtenOn(x.device, [x.shape], ([bits]) => {
    begin()
    viewAs(x, shape, stridesOf(shape))
    view(bitsOf(x.size))
    number(by === 'magnitude')
    number(n)
    number(m)
    native.maskNm(x.buffer, bits as NativeBuffer)
  })
  return mask as Mask
}
