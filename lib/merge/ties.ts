/**
 * TIES-Merging (Yadav et al., arXiv 2306.01708): of every task vector only the largest entries stay
 * (trim), the sign of an entry is that of the sum over tasks (elect), and the entries of that sign are
 * averaged (disjoint mean). As in the official code the trim is over a whole task vector and keeps all
 * entries that reach the threshold.
 */

import { begin, number, view } from '../engine/call.js'
import { checkNumber, checkOptions } from '../engine/check.js'
import { native } from '../engine/native.js'
import { dtypeCodes } from '../tensor/dtype.js'
import { binaryInto, unaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, type Tensor, where, zerosLike } from '../tensor/index.js'
import type { MergeMethod, Piece, Sources } from './stream.js'

/** Options of ties. */
export interface TiesOptions {
  /** The fraction of a task vector that stays; 0.2 by default. */
  density?: number
  /** The merged task vector is multiplied by this; 1 by default. */
  scale?: number
}

/** Adds the counts of x's magnitudes by their upper bits, or of those with `upper` by their lower ones. */
function count(x: Tensor, upper: number, counts: Float64Array): void {
  begin()
  view(x)
  view({ dtypeCode: dtypeCodes.float64, offset: 0, shape: [counts.length], strides: [1] })
  number(upper)
  native.magnitudeCounts(x.array, counts)
}

/** The bin in which the `wanted`-th of all counted stands, from above, and how many it is within it. */
function binOf(counts: Float64Array, wanted: number): { bin: number; left: number } {
  let left = wanted
  let bin = counts.length - 1
  while (bin > 0 && left > (counts[bin] as number)) left -= counts[bin--] as number
  return { bin, left }
}

/** Calls use(i, task vector i) for pieces of the checkpoints of which `wanted` says so; returns their entries. */
function each(
  pieces: Iterable<Piece>,
  wanted: (i: number) => boolean,
  use: (i: number, delta: Tensor) => void,
): number {
  let total = 0
  for (const piece of pieces) {
    noGrad(() =>
      scope(() => {
        total += piece.base().size
        for (let i = 0; i < piece.count; i++) {
          if (!wanted(i)) continue
          const delta = piece.task(i)
          use(i, delta)
          delta.dispose()
        }
      }),
    )
  }
  return total
}

const upperTables = (n: number) => Array.from({ length: n }, () => new Float64Array(1 << 15))

/** One entry in so many is sampled. */
const sampled = 64

/**
 * For each checkpoint the upper bits that the k-th largest magnitude probably has, by a sample: bins within
 * six standard deviations of independent draws, at most `most`.
 */
function guess(sources: Sources, density: number, most = 4): number[][] {
  const counts = upperTables(sources.count)
  const total = each(
    sources.sample(1 / sampled),
    () => true,
    (i, delta) => count(delta, -1, counts[i] as Float64Array),
  )
  const margin = 6 * Math.sqrt(total * density * (1 - density)) + 1
  const at = (rank: number, i: number) =>
    binOf(counts[i] as Float64Array, Math.min(Math.max(rank, 1), Math.max(total, 1))).bin
  return counts.map((_, i) => {
    const [low, middle, high] = [1, 0, -1].map((side) => at(density * total + side * margin, i))
    const bins = Array.from(
      { length: (high as number) - (low as number) + 1 },
      (_, j) => (low as number) + j,
    )
    const distance = (bin: number) => Math.abs(bin - (middle as number))
    return bins.sort((a, b) => distance(a) - distance(b)).slice(0, most)
  })
}

/**
 * The k-th largest magnitude of each task vector, exactly: magnitudes of float32 are ordered as their bits,
 * so that counts of the upper 15, and of the lower 16 among those that share the k-th's upper ones, name it,
 * in memory that does not depend on the checkpoints' size. Lower bits are counted in the same reading for
 * the upper ones that a sample expects; only where it was wrong is a checkpoint read again.
 */
function thresholds(sources: Sources, density: number): number[] {
  const upper = upperTables(sources.count)
  const lower = guess(sources, density).map(
    (bins) => new Map(bins.map((bin) => [bin, new Float64Array(1 << 16)])),
  )
  const total = each(
    sources.pieces(),
    () => true,
    (i, delta) => {
      count(delta, -1, upper[i] as Float64Array)
      for (const [bin, counts] of lower[i] as Map<number, Float64Array>) count(delta, bin, counts)
    },
  )
  const wanted = Math.max(1, Math.round(density * total))
  const bins = upper.map((counts) => binOf(counts, wanted))
  const missed = bins.map(({ bin }, i) => {
    if (lower[i]?.has(bin)) return false
    lower[i]?.set(bin, new Float64Array(1 << 16))
    return true
  })
  if (missed.includes(true)) {
    each(
      sources.pieces(),
      (i) => missed[i] as boolean,
      (i, delta) => {
        const bin = bins[i]?.bin as number
        count(delta, bin, lower[i]?.get(bin) as Float64Array)
      },
    )
  }
  return bins.map(({ bin, left }, i) => {
    const bits = (bin << 16) | binOf(lower[i]?.get(bin) as Float64Array, left).bin
    return new Float32Array(Uint32Array.of(bits).buffer)[0] as number
  })
}

/**
 * With t the trimmed task vectors, T = Σt, A = Σ|t|, S = Σ sign t and C = Σ|sign t|: entries of the elected
 * sign e = ±1 (that of T) sum up to (T + e·A)/2, and there are (C + e·S)/2 of them.
 */
function mergePiece(piece: Piece, limits: readonly number[], scale: number): Tensor {
  const base = piece.base()
  const [sum, size, signs, kept] = Array.from({ length: 4 }, () => zerosLike(base)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ]
  const into = (total: Tensor, x: Tensor) => binaryInto('add', total, x, total)
  for (let i = 0; i < piece.count; i++) {
    scope(() => {
      const t = piece.task(i)
      const magnitude = t.abs()
      const on = magnitude.ge(limits[i] as number)
      binaryInto('mul', t, on, t)
      binaryInto('mul', magnitude, on, magnitude)
      into(sum, t)
      into(size, magnitude)
      unaryInto('sign', t, t)
      into(signs, t)
      into(kept, unaryInto('abs', t, t))
    })
  }
  const positive = sum.ge(0)
  const entries = where(positive, kept.add(signs), kept.sub(signs))
  const total = where(positive, sum.add(size), sum.sub(size))
  // Where nothing stayed 0 / 1 adds nothing.
  return base.add(total.mul(scale).div(entries.maximum(1)))
}

/** Trim, elect sign, disjoint mean. */
export function ties(options: TiesOptions = {}): MergeMethod {
  const { density = 0.2, scale = 1 } = checkOptions(options)
  checkNumber(density, 'density', Number.MIN_VALUE, 1)
  checkNumber(scale, 'scale', -100, 100)
  let limits: number[] = []
  return {
    name: 'ties',
    needsBase: true,
    before(sources) {
      limits = thresholds(sources, density)
    },
    piece: (piece) => mergePiece(piece, limits, scale),
  }
}
