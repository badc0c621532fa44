/** What a strategy's hooks see: the run's live parts, and what the setting means for a batch. */

import { checkIntegers, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { crossEntropy } from '../nn/losses.js'
import type { Module } from '../nn/module.js'
import type { Optimizer, OptimizerState } from '../optim/optimizer.js'
import type { Generator } from '../random/generator.js'
import { Tensor, where } from '../tensor/index.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import type { Columns, Experience, Scenario } from './scenario.js'

import type { Batch, TaskDataset } from './strategy.js'

/** The part of an optimizer that the trainer needs. */
export type AnyOptimizer = Pick<Optimizer<{ lr: number }>, 'step' | 'zeroGrad'> & {
  readonly paramGroups: { lr: number }[]
  stateDict(): OptimizerState
  loadStateDict(state: OptimizerState): void
}

/**
 * Which outputs compete in the training loss of a class-incremental stream: those of all classes
 * 'seen' so far, or only those of the example's 'own' task (the labels trick of Zeno et al.,
 * arXiv 1803.10123). Tasks with heads of their own always train their own.
 */
export type TrainingHead = 'seen' | 'own'

/** How far a run is. */
export interface Position {
  /** The current experience, or their number when all are done. */
  experience: number
  epoch: number
  /** Batches done of this epoch. */
  batch: number
  /** Steps done in all. */
  step: number
}

/** One object for the whole run; the trainer changes its fields. */
export class Context {
  readonly position: Position = { experience: 0, epoch: 0, batch: 0, step: 0 }
  /** Parameters in the model's order. */
  readonly parameters: readonly Tensor[]
  /** Their paths. */
  readonly names: readonly string[]
  /** New at every experience unless the trainer is told to keep it. */
  optimizers: readonly AnyOptimizer[] = []
  /** The examples of the current experience. */
  trainData!: TaskDataset
  /** The batch as it came. */
  fresh!: Batch
  /** The batch that is trained on. */
  batch!: Batch
  /** The model's outputs for `batch`, with their graph until backward(). */
  logits!: Tensor
  /** Random numbers of the strategy whose hook runs: nobody else draws from them. */
  generator!: Generator

  constructor(
    readonly scenario: Scenario,
    readonly model: Module,
    /** Makes a model of the same architecture, for teachers. */
    readonly newModel: () => Module,
    readonly trainingHead: TrainingHead,
    readonly epochs: number,
    readonly batchSize: number,
  ) {
    const named = model.namedParameters()
    this.names = named.map(([name]) => name)
    this.parameters = named.map(([, x]) => x)
  }

  get experience(): Experience {
    return this.scenario.experiences[this.position.experience] as Experience
  }

  /** Inputs to outputs [n, scenario.outputs]. */
  forward(inputs: Tensor): Tensor {
    return this.model.call(inputs)
  }

  /** The outputs that an example of a task is answered by now. */
  answerColumns(task: number): Columns {
    const { setting, outputs, experiences } = this.scenario
    if (setting === 'domain') return [0, outputs]
    if (setting === 'task') return (experiences[task] as Experience).columns
    return [0, this.seenColumns]
  }

  /** The outputs that an example of a task trains. */
  trainColumns(task: number): Columns {
    const { setting, experiences } = this.scenario
    if (setting === 'class' && this.trainingHead === 'own')
      return (experiences[task] as Experience).columns
    return this.answerColumns(task)
  }

  /** Heads that earlier experiences left: what distillation keeps. Empty at the first. */
  pastColumns(): Columns[] {
    const { setting, outputs, experiences } = this.scenario
    const { experience } = this.position
    if (experience === 0) return []
    if (setting === 'domain') return [[0, outputs]]
    const past = experiences.slice(0, experience).map(({ columns }) => columns)
    if (setting === 'task') return past
    return [[0, Math.max(...past.map(([, to]) => to))]]
  }

  private get seenColumns(): number {
    const { experiences } = this.scenario
    const last = Math.min(this.position.experience, experiences.length - 1)
    return Math.max(...experiences.slice(0, last + 1).map(({ columns: [, to] }) => to))
  }

  /**
   * Cross-entropy of rows, each over the outputs that it trains: their mean, or with the reduction 'none'
   * every row's own.
   *
   * @param logits [n, outputs]
   * @param targets int32 [n], output columns
   * @param tasks a task label a row
   */
  classify(
    logits: Tensor,
    { targets, tasks }: Pick<Batch, 'targets' | 'tasks'>,
    reduction: 'mean' | 'none' = 'mean',
  ): Tensor {
    const [from, to] = this.trainColumns(tasks[0] as number)
    const apart = (task: number) => {
      const head = this.trainColumns(task)
      return head[0] !== from || head[1] !== to
    }
    if (this.scenario.setting === 'domain' || ![...new Set(tasks)].some(apart)) {
      if (from === 0 && to === logits.shape[1]) return crossEntropy(logits, targets, { reduction })
      const goal = from === 0 ? targets : targets.sub(from)
      return crossEntropy(columnsOf(logits, [from, to]), goal, { reduction })
    }
    // Rows of several heads: outputs of others are out of the sum.
    const [n, outputs] = logits.shape as [number, number]
    if (tasks.length !== n) throw new ArgumentError(`${tasks.length} task labels for ${n} rows`)
    const inside = new Uint8Array(n * outputs)
    tasks.forEach((task, row) => {
      const [a, b] = this.trainColumns(task)
      inside.fill(1, row * outputs + a, row * outputs + b)
    })
    const mask = Tensor.from({ data: inside, shape: [n, outputs], dtype: 'bool' })
    return crossEntropy(where(mask, logits, -1e9), targets, { reduction })
  }
}

/** Some columns of a matrix; itself where they are all. */
export function columnsOf(matrix: ArrayLike, columns: Columns): Tensor {
  const x = toTensor(matrix, 'x')
  if (x.rank !== 2) wrong('x', 'a matrix', x)
  const [from, to] = checkIntegers(columns, 'columns', 2) as [number, number]
  if (from < 0 || to < from || to > (x.shape[1] as number)) {
    wrong('columns', `[from, to] within ${x.shape[1]} columns`, columns)
  }
  return from === 0 && to === x.shape[1] ? x : x.slice(1, from, to)
}
