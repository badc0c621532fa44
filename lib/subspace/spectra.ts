/**
 * Spectra of representations: how many directions they use (RankMe, Garrido et al., arXiv 2210.02885)
 * and how fast their variance falls off (α-ReQ, Agrawal et al., NeurIPS 2022), as "Tracing the
 * Representation Geometry of Language Models" (arXiv 2509.23024) follows them over pretraining.
 */

import { checkIntegers, checkNumber, checkOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { svdvals } from '../linalg/index.js'
import { noGrad, scope } from '../tensor/index.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'

/** Singular values of centred features, descending. */
export function spectrum(features: ArrayLike, options: { center?: boolean } = {}): Float64Array {
  const { center = true } = checkOptions(options)
  const x = toTensor(features, 'features')
  if (x.rank !== 2 || x.size === 0)
    throw new ShapeError(`'features' has shape [${x.shape.join(', ')}], expected [samples, d]`)
  return noGrad(() =>
    scope(() => {
      const f = x.detach().to('float64')
      const values = svdvals(center ? f.sub(f.mean(0, true)) : f)
      return Float64Array.from(values.data as Float64Array)
    }),
  )
}

/** Singular values. */
function checkValues(values: Numbers): void {
  if (typeof values !== 'object' || values === null) wrong('values', 'a list of numbers', values)
  for (let i = 0; i < values.length; i++) checkNumber(values[i], 'values', 0)
}

/** exp(−Σ p log p) with p = σ/Σσ: between 1 and the number of values; 0 where all are zero. */
export function rankMe(values: Numbers): number {
  checkValues(values)
  let total = 0
  for (let i = 0; i < values.length; i++) total += values[i] as number
  if (total === 0) return 0
  let entropy = 0
  for (let i = 0; i < values.length; i++) {
    const p = (values[i] as number) / total
    if (p > 0) entropy -= p * Math.log(p)
  }
  return Math.exp(entropy)
}

/** Options of alphaReq. */
export interface AlphaReqOptions {
  /**
   * Ranks [first, last], counted from 1, that the line is fitted over; by default from 1 to the last
   * eigenvalue above 1e-12 of the largest, which leaves out what rounding made.
   */
  range?: readonly [number, number]
}

/** The slope of a line through (log i, log λᵢ), negated: λᵢ ∝ i^−α, λ = σ². NaN with fewer than two values. */
export function alphaReq(values: Numbers, options: AlphaReqOptions = {}): number {
  const { range } = checkOptions(options)
  checkValues(values)
  const largest = values.length > 0 ? (values[0] as number) : 0
  let last = 0
  while (last < values.length && (values[last] as number) ** 2 > 1e-12 * largest ** 2) last++
  let first = 1
  if (range) {
    const [a, b] = checkIntegers(range, 'range', 2) as [number, number]
    if (!Number.isInteger(a) || !Number.isInteger(b) || a < 1 || b <= a)
      wrong('range', 'two ascending ranks from 1', range)
    first = a
    last = Math.min(last, b)
  }
  const n = last - first + 1
  if (n < 2) return Number.NaN
  let sx = 0
  let sy = 0
  let sxx = 0
  let sxy = 0
  for (let i = first; i <= last; i++) {
    const x = Math.log(i)
    const y = 2 * Math.log(values[i - 1] as number)
    sx += x
    sy += y
    sxx += x * x
    sxy += x * y
  }
  return -(n * sxy - sx * sy) / (n * sxx - sx * sx)
}

type Numbers = { readonly length: number; readonly [i: number]: number }
