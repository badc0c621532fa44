/** The results of one run: what `--json` prints, `--out` keeps and `--compare` reads. */

import type { Limit } from './rows/row.js'

/** Milliseconds. */
export interface Times {
  median: number
  min: number
  max: number
}

/** One row's result. */
export interface Result {
  name: string
  ms: Times
  /** Of the machine's measured limit; null where that could not be measured. */
  fraction: number | null
  limit: Limit
  /** Relative to float64. */
  error: number | null
  /** `ratio`: the peer's time over ours. */
  peers: Record<string, (Times & { ratio: number }) | { skipped: string }>
}

/** One run. */
export interface BenchDocument {
  date: string
  node: string
  cpu: string
  level: string
  threads: number
  /** FLOP/s and bytes/s. */
  limits: Record<Limit, number>
  results: Result[]
}

const middle = (list: readonly number[]) =>
  [...list].sort((a, b) => a - b)[list.length >> 1] as number

export const timesOf = (list: readonly number[]): Times => ({
  median: middle(list),
  min: Math.min(...list),
  max: Math.max(...list),
})

/** The fastest peer of a row. */
export function bestPeer(result: Result): { name: string; ratio: number; median: number } | null {
  let best: { name: string; ratio: number; median: number } | null = null
  for (const [name, value] of Object.entries(result.peers)) {
    if ('skipped' in value) continue
    if (!best || value.ratio < best.ratio) best = { name, ratio: value.ratio, median: value.median }
  }
  return best
}
