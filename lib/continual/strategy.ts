/**
 * Strategies: plain objects of hooks that the trainer calls. They compose as a list; every hook is
 * called in the list's order. All hooks are optional, synchronous, and called in this order:
 *
 *   beforeTraining
 *   └─ for every experience ─ data (the examples to train on) ─ beforeExperience
 *      ├─ for every epoch ─ beforeEpoch
 *      │  ├─ for every step ─ beforeStep
 *      │  │     batch          examples are added or changed, then the model's forward
 *      │  │     loss           terms are added to cross-entropy, then backward
 *      │  │     afterBackward  gradients are changed, then the optimizer's step
 *      │  │     afterStep      parameters are changed, memories filled; gradients are still there
 *      │  └─ afterEpoch
 *      ├─ afterExperience
 *      └─ for every measured experience ─ beforeEvaluation ─ (forwards) ─ afterEvaluation
 *   afterTraining
 *
 * Tensors made in a hook live until its step ends; what a strategy keeps it marks with `keep()` and
 * disposes itself.
 */

import type { Dataset } from '../data/dataset.js'
import type { Tensor } from '../tensor/index.js'
import type { Context } from './context.js'
import type { Experience } from './scenario.js'
import type { StateValue } from './state.js'

/** Examples of a step: inputs [n, …shape], targets int32 [n] (output columns), a task label a row. */
export interface Batch {
  inputs: Tensor
  targets: Tensor
  tasks: Int32Array
}

/** Examples with the task that each belongs to, where it is not the current one. */
export interface TaskDataset extends Dataset {
  readonly tasks?: Int32Array
}

/** See the head of this file for the order of hooks. */
export interface Strategy {
  /** What reports and checkpoints call it; unique in a list. */
  readonly name: string
  /** Once, before the first experience. */
  beforeTraining?(c: Context): void
  /**
   * The examples of this experience. Must depend on the stream alone: it is called again when a run
   * resumes in the middle.
   */
  data?(c: Context, data: TaskDataset): TaskDataset
  beforeExperience?(c: Context): void
  beforeEpoch?(c: Context): void
  /** Before the examples of a step are final; `c.fresh` holds them as they came. */
  beforeStep?(c: Context): void
  /** Returns the batch to train on. */
  batch?(c: Context, batch: Batch): Batch
  /** Returns the loss, a scalar: the given one with a term added, or another. */
  loss?(c: Context, loss: Tensor): Tensor
  /** Parameters' `.grad` are known and may be changed. */
  afterBackward?(c: Context): void
  /** The optimizer has stepped; `.grad` is what it used. */
  afterStep?(c: Context): void
  afterEpoch?(c: Context): void
  /** The experience is learned; not yet measured. */
  afterExperience?(c: Context): void
  /** Around the measuring of an experience. */
  beforeEvaluation?(c: Context, experience: Experience): void
  afterEvaluation?(c: Context, experience: Experience): void
  /** Once, after the last experience. */
  afterTraining?(c: Context): void
  /** All that the strategy must have to go on: numbers, texts, typed arrays, tensors, lists, records. */
  state?(): StateValue
  /** Takes over what `state()` gave. */
  loadState?(state: StateValue, c: Context): void
  /** Bytes that the strategy keeps; counted from `state()` where missing. */
  bytes?(): number
  /** Options, for reports. */
  readonly options?: object
}
