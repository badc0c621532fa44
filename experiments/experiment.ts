/** What an experiment is: a paper's central claim, shown on a small real problem. */

import { estimate } from '../lib/continual/metrics.js'
import { batches, type Dataset, subset } from '../lib/data/index.js'
import type { Section } from '../lib/report/report.js'
import { scope, type Tensor } from '../lib/tensor/index.js'

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

/** Mean and half-width of the 95 % interval (Student's t) of one value a seed. */
export function overSeeds(
  name: string,
  values: readonly number[],
  more: Pick<Figure, 'published' | 'digits'> = {},
): Figure {
  return { name, ...estimate(values), ...more }
}

/** Whether a figure is above zero by more than its interval; never with a single seed. */
export const clear = ({ mean, interval }: Pick<Figure, 'mean' | 'interval'>): boolean =>
  mean - (interval ?? Infinity) > 0

/** A figure for a sentence: 'mean ± interval'. */
export const shown = ({ mean, interval }: Pick<Figure, 'mean' | 'interval'>, digits: number) =>
  interval === null ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${interval.toFixed(digits)}`

/** The mean of a list. */
export const average = (list: readonly number[]): number =>
  list.reduce((a, b) => a + b, 0) / list.length

/** The examples from `from` to before `to`, or to the end. */
export const part = (data: Dataset, from: number, to: number): Dataset => {
  const end = Math.min(to, data.labels.length)
  return subset(
    data,
    Array.from({ length: end - from }, (_, i) => from + i),
  )
}

/** The percentage of examples whose class has the largest of the predictor's outputs. */
export function accuracy(
  data: Dataset,
  predict: (inputs: Tensor) => Tensor,
  batchSize = 500,
): number {
  let hits = 0
  for (const { inputs, targets } of batches(data, { batchSize })) {
    hits += scope(() => predict(inputs).argmax(1).eq(targets).sum().item())
  }
  return (100 * hits) / data.labels.length
}
