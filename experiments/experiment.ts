/** What an experiment is: a paper's central claim, shown on a small real problem. */

import type { Section } from '../lib/report/report.js'

/** How to run. */
export interface ExperimentOptions {
  /** Seeds of data order and weights; figures are given with their spread over them. */
  seeds: readonly number[]
  /** A shortened run that shows only that everything works; its verdict says nothing. */
  quick: boolean
  /** Tells how far it is: a message for people and the fraction done. */
  progress: (message: string, fraction: number) => void
  signal?: AbortSignal
}

/** One measured figure. */
export interface Figure {
  /** What was measured, with its unit. */
  name: string
  mean: number
  /** Half the width of the 95 % interval over seeds; null for a single value. */
  interval: number | null
  /** What the paper reports for this, where it does. */
  published?: string
  /** Decimals to show; 3 by default. */
  digits?: number
}

/** What came out. */
export interface ExperimentResult {
  measured: Figure[]
  /** Whether the claim was seen at this size. */
  holds: boolean
  /** One or two plain sentences: what was seen, and what differs from the paper's setting. */
  verdict: string
  /** Pictures and tables for the report. */
  plots: Section[]
}

/** One published system. */
export interface Experiment {
  /** The id of `palimpsest reproduce`. */
  system: string
  /** Title and where it appeared. */
  paper: string
  /** The claim in a sentence. */
  claim: string
  run(options: ExperimentOptions): Promise<ExperimentResult>
}

// Two-sided 95 % points of Student's t for 1 … 30 degrees of freedom.
const student = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
  2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048,
  2.045, 2.042,
]

/** Mean and half-width of the 95 % interval (Student's t) of one value a seed. */
export function overSeeds(
  name: string,
  values: readonly number[],
  more: Pick<Figure, 'published' | 'digits'> = {},
): Figure {
  const n = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / n
  if (n < 2) return { name, mean, interval: null, ...more }
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)
  const t = student[n - 2] ?? 1.96
  return { name, mean, interval: t * Math.sqrt(variance / n), ...more }
}
