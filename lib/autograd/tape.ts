/** The tape: which operation made a tensor, and how its gradient goes back to the operands. */

import { checkFunction } from '../engine/check.js'
import type { Tensor } from '../tensor/tensor.js'

/** What of a sample's gradient is summed over the samples; null where each is wanted for itself. */
export type Measure = 'square' | 'abs' | null

/**
 * How to get the gradient of operand i, which all samples share, for each of them: [samples, …its shape],
 * or the sum of a measure of it over the samples. Null where its gradient is of the usual kind.
 */
export type SampleRule = (
  grad: Tensor,
  samples: number,
  i: number,
) => ((measure: Measure) => Tensor) | null

/** One operation's record. */
export class Node {
  /** Grows with time: operands are older than results. */
  readonly order = ++clock
  /** Whether the rule may read the result's values. */
  readsResult = true

  constructor(
    /** The operands that gradients flow to; null where one needs none. */
    public inputs: readonly (Tensor | null)[],
    /** Gradients of the operands from that of the result, in the order of `inputs`. */
    public rule: ((grad: Tensor) => (Tensor | null)[]) | null,
    /** Gradients sample by sample (per-sample.ts), where the operation knows them. */
    public samples: SampleRule | null,
    /** Tensors that only this record holds. */
    public saved: readonly Tensor[],
  ) {}

  /**
   * Forgets how it was computed, and lets go of everything older.
   *
   * @param used whether what was saved has served: gradients that are recorded themselves read it again
   */
  free(used: boolean): void {
    this.rule = null
    this.samples = null
    this.inputs = none
    if (used) for (const tensor of this.saved) tensor.dispose()
    this.saved = none
  }
}

const none: readonly never[] = []

let clock = 0
let recording = true

/** The order of the newest record. */
export const now = () => clock

/** Whether operations are recorded now. */
export const isRecording = () => recording

/** Runs `fn` (synchronous) with recording on or off. */
export function withRecording<T>(on: boolean, fn: () => T): T {
  const before = recording
  recording = on
  try {
    return fn()
  } finally {
    recording = before
  }
}

/** Runs `fn` without recording what it computes: nothing made inside has a gradient. */
export function noGrad<T>(fn: () => T): T {
  checkFunction(fn, 'fn')
  return withRecording(false, fn)
}

/** Whether a result of these operands is to be recorded. */
export function tracked(
  a: Tensor | null,
  b: Tensor | null = null,
  c: Tensor | null = null,
): boolean {
  return (
    recording &&
    ((a?.requiresGrad ?? false) || (b?.requiresGrad ?? false) || (c?.requiresGrad ?? false))
  )
}

/** Says that the rule behind a result does not read the result's values; returns it. */
export function unread(result: Tensor): Tensor {
  if (result.node) result.node.readsResult = false
  return result
}

/**
 * Says that the package made `x` and used it up for `result`, so that nobody else holds it: its memory goes
 * back when the tape has no use for it any more, or now where nothing is recorded.
 */
export function usedUp(x: Tensor, result: Tensor): void {
  if (x === result || x.holder === 'outside' || x.kept || x.hooks) return
  if (x.node) x.holder = 'tape'
  else if (!recording && !x.requiresGrad) x.dispose()
}

/** The gradient that the running rule may write over: nothing else in the backward pass waits for it. */
let spendable: Tensor | null = null

/** Runs a rule that may write its result over `grad`, if that is not null. */
export function withSpendable<T>(grad: Tensor | null, rule: () => T): T {
  const before = spendable
  spendable = grad
  try {
    return rule()
  } finally {
    spendable = before
  }
}

/** Whether the running rule may write over the gradient that it was given. */
export const isSpendable = (grad: Tensor): boolean => grad === spendable && !recording

/**
 * Records how `result` was made; returns it.
 *
 * @param saved tensors that the rule needs and nobody else has: they go with the record
 */
export function record(
  result: Tensor,
  inputs: readonly (Tensor | null)[],
  rule: (grad: Tensor) => (Tensor | null)[],
  samples: SampleRule | null = null,
  saved: readonly Tensor[] = none,
): Tensor {
  result.requiresGrad = true
  result.node = new Node(
    inputs.map((input) => (input?.requiresGrad ? input : null)),
    rule,
    samples,
    saved,
  )
  return result
}
