/** What a run of experiences is judged by. */

import { checkInteger, checkNumber, wrong } from '../engine/check.js'

/** Accuracies in [0, 1]: row i after learning experience i, column j on experience j; null: not measured. */
export type AccuracyMatrix = readonly (readonly (number | null)[])[]

/** Figures of one finished run. */
export interface Metrics {
  /** Mean accuracy over all experiences at the end. */
  averageAccuracy: number
  /** Mean over i of the mean accuracy over experiences 0 … i after learning i (Rebuffi et al., arXiv 1611.07725). */
  averageIncrementalAccuracy: number
  /**
   * Mean over all but the last experience of the best accuracy it ever had before the end, less the one
   * at the end (Chaudhry et al., arXiv 1801.10112). 0 for one experience.
   */
  forgetting: number
  /** Mean of R[T−1][j] − R[j][j] over all but the last (Lopez-Paz & Ranzato, arXiv 1706.08840). */
  backwardTransfer: number
  /**
   * Mean of R[j−1][j] − b[j] over all but the first, b the accuracy of the untrained model (same paper).
   * Null where experiences were not measured before they were learned, and in class-incremental streams,
   * where a class is no answer before it was seen.
   */
  forwardTransfer: number | null
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * @param matrix square; entries on and below the diagonal must be there
 * @param untrained the accuracies before training, for forward transfer
 */
export function metricsOf(
  matrix: AccuracyMatrix,
  untrained: readonly (number | null)[] | null = null,
): Metrics {
  if (!Array.isArray(matrix) || !matrix.every(Array.isArray)) {
    wrong('matrix', 'rows of accuracies', matrix)
  }
  const tasks = matrix.length
  if (tasks === 0) wrong('matrix', 'at least one row', matrix)
  const at = (i: number, j: number): number => checkNumber(matrix[i]?.[j], `matrix[${i}][${j}]`)
  const upTo = (n: number) => Array.from({ length: n }, (_, j) => j)
  const last = tasks - 1
  const ahead = upTo(tasks)
    .slice(1)
    .map((j) => {
      const before = matrix[j - 1]?.[j] ?? null
      const start = untrained?.[j] ?? null
      return before === null || start === null ? null : before - start
    })
  return {
    averageAccuracy: mean(upTo(tasks).map((j) => at(last, j))),
    averageIncrementalAccuracy: mean(
      upTo(tasks).map((i) => mean(upTo(i + 1).map((j) => at(i, j)))),
    ),
    forgetting: mean(
      upTo(last).map((j) => {
        const before = upTo(last).filter((i) => i >= j)
        return Math.max(...before.map((i) => at(i, j))) - at(last, j)
      }),
    ),
    backwardTransfer: mean(upTo(last).map((j) => at(last, j) - at(j, j))),
    forwardTransfer:
      ahead.length === 0 || ahead.includes(null) ? null : mean(ahead as readonly number[]),
  }
}

/** A mean over seeds and half the width of its 95 % interval; null for one seed. */
export interface Estimate {
  mean: number
  interval: number | null
}

/** Mean and 95 % interval (Student's t) of independent values. */
export function estimate(values: readonly number[]): Estimate {
  if (!Array.isArray(values) || values.length === 0) wrong('values', 'at least one value', values)
  for (const value of values) checkNumber(value, 'values')
  const n = values.length
  const center = mean(values)
  if (n === 1) return { mean: center, interval: null }
  const variance = values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (n - 1)
  return { mean: center, interval: studentQuantile(n - 1) * Math.sqrt(variance / n) }
}

// Two-sided 95 % points of Student's t for 1 … 10 degrees of freedom.
const exact = [
  12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.306, 2.26216, 2.22814,
]

/** The two-sided 95 % point: a table, then Cornish and Fisher's expansion, whose error is below 1e-4 there. */
export function studentQuantile(freedom: number): number {
  const known = exact[checkInteger(freedom, 'freedom', 1) - 1]
  if (known !== undefined) return known
  const z = 1.959964
  const g1 = (z ** 3 + z) / 4
  const g2 = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96
  const g3 = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384
  return z + g1 / freedom + g2 / freedom ** 2 + g3 / freedom ** 3
}
