/** What a row of the benchmarks is. */

import type { Tensor } from '../../lib/index.js'

/** The machine's limits that rows are compared with: arithmetic rates, and memory bandwidths. */
export const limitNames = ['f32', 'f64', 'bf16', 'copy', 'read', 'write'] as const
export type Limit = (typeof limitNames)[number]

/** One row. Its name tells the peers what to do. */
export interface Row {
  name: string
  /** The fewest FLOPs that the work needs, or bytes where the limit is a bandwidth. */
  work: number
  limit: Limit
  run: () => unknown
  /** Relative error against float64 (Frobenius), where that has a meaning. */
  error?: () => number
  /** Gives memory back that tensors alone do not hold. */
  close?: () => void
}

/** A row by name; made one at a time to keep memory low. */
export type RowMaker = [name: string, make: () => Row]

/** ‖a − b‖ / ‖b‖ in float64. */
export const relativeError = (a: Tensor, b: Tensor): number =>
  a.to('float64').sub(b).norm().item() / b.norm().item()
