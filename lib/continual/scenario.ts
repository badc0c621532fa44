/**
 * Scenarios: a stream of experiences made from any dataset. What a model may know and must answer is
 * the setting (van de Ven & Tolias, arXiv 1904.07734):
 *
 * - `task`: every task has classes of its own and says which task it is: one head of outputs a task;
 * - `domain`: the same classes in changing clothes; nobody says which;
 * - `class`: every task brings new classes, and one head must tell all of them apart.
 *
 * Heads are ranges of output columns: task t of a `task` or `class` scenario owns columns
 * [t·k, (t + 1)·k), so a separate linear head and a slice of one wide layer are the same thing.
 * Data are made when they are asked for, so a stream of a hundred tasks needs the memory of one.
 */

import { checkDataset, type Dataset, subset } from '../data/dataset.js'
import { rotateImages } from '../data/rotate.js'
import {
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
  wrong,
} from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { Generator } from '../random/generator.js'
import { gather } from '../tensor/indexing.js'
import { scope } from '../tensor/scope.js'
import { checkShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

export const settings = ['task', 'domain', 'class'] as const
export type Setting = (typeof settings)[number]

/** Output columns [from, to). */
export type Columns = readonly [from: number, to: number]

/** Examples to learn and examples to be measured by. */
export interface Split {
  readonly train: Dataset
  readonly test: Dataset
}

/** One experience of a stream; its labels are output columns of the whole scenario. */
export interface Experience {
  /** Its place in the stream, which is also its task's label. */
  readonly index: number
  readonly name: string
  /** The outputs of its classes. */
  readonly columns: Columns
  train(): Dataset
  test(): Dataset
}

/** A stream of experiences. */
export interface Scenario {
  readonly name: string
  readonly setting: Setting
  /** Width of the model's last layer. */
  readonly outputs: number
  /** The shape of one input. */
  readonly shape: readonly number[]
  readonly experiences: readonly Experience[]
  /** Batches of this size, every example once, whatever the trainer's options say; null for offline. */
  readonly online: number | null
}

/** A task before it has a place in a stream: labels are 0 … classes − 1. */
export interface Part {
  readonly name: string
  readonly classes: number
  train(): Dataset
  test(): Dataset
}

/** Puts tasks in a row under a setting. All must have inputs of one shape. */
export function scenarioOf(
  name: string,
  setting: Setting,
  parts: readonly Part[],
  shape: readonly number[],
): Scenario {
  if (typeof name !== 'string') wrong('name', 'a string', name)
  checkChoice(setting, 'setting', settings)
  if (!Array.isArray(parts) || parts.length === 0) wrong('parts', 'at least one task', parts)
  for (const [i, part] of parts.entries()) {
    if (typeof part?.train !== 'function' || typeof part.test !== 'function') {
      wrong(`parts[${i}]`, 'a Part: { name, classes, train(), test() }', part)
    }
  }
  checkShape(shape)
  let next = 0
  const experiences = parts.map((part, index): Experience => {
    const from = setting === 'domain' ? 0 : next
    const to = from + checkInteger(part.classes, `parts[${index}].classes`, 1)
    next = Math.max(next, to)
    const placed = (data: Dataset): Dataset => {
      if (from === 0) return data
      return { ...data, labels: data.labels.map((label) => label + from) }
    }
    return {
      index,
      name: part.name,
      columns: [from, to],
      train: () => placed(part.train()),
      test: () => placed(part.test()),
    }
  })
  return { name, setting, outputs: next, shape, experiences, online: null }
}

/** The number of classes: one more than the largest label. */
export function classesOf(data: Split): number {
  checkSplit(data)
  let most = 0
  for (const { labels } of [data.train, data.test]) {
    for (const label of labels) most = Math.max(most, label)
  }
  return most + 1
}

function checkSplit(data: Split): void {
  requireOptions(data, 'data')
  checkDataset(data.train, 'data.train')
  checkDataset(data.test, 'data.test')
}

/** Refuses what is no scenario. */
export function checkScenario(scenario: Scenario): void {
  if (!Array.isArray(scenario?.experiences)) wrong('scenario', 'a Scenario', scenario)
}

/** Options of split(). */
export interface SplitOptions {
  /** How many tasks; the classes must divide evenly. 5 by default. */
  tasks?: number
  /** 'class' by default. In 'domain' the i-th class of every task is one output (odd against even …). */
  setting?: Setting
  /** Shuffles which classes come together; in ascending order where missing. */
  seed?: number
}

/** Tasks of a few classes each, as split MNIST (Zenke et al., arXiv 1703.04200). */
export function split(data: Split, options: SplitOptions = {}): Scenario {
  const { tasks = 5, setting = 'class', seed } = checkOptions(options)
  const classes = classesOf(data)
  checkInteger(tasks, 'tasks', 1, classes)
  const each = classes / tasks
  if (!Number.isInteger(each)) wrong('tasks', `a divisor of the ${classes} classes`, tasks)
  const order =
    seed === undefined
      ? Int32Array.from({ length: classes }, (_, i) => i)
      : new Generator(seed).permutation(classes)
  const parts = Array.from({ length: tasks }, (_, t): Part => {
    const mine = order.subarray(t * each, (t + 1) * each)
    const pick = (source: Dataset): Dataset => {
      const chosen: number[] = []
      source.labels.forEach((label, i) => {
        if (mine.includes(label)) chosen.push(i)
      })
      const part = subset(source, chosen)
      return { ...part, labels: part.labels.map((label) => mine.indexOf(label)) }
    }
    return {
      name: Array.from(mine).join(', '),
      classes: each,
      train: () => pick(data.train),
      test: () => pick(data.test),
    }
  })
  return scenarioOf(`split (${setting})`, setting, parts, data.train.shape)
}

/** Tasks whose inputs go through a function of their own, all with all classes. */
export function transformed(
  name: string,
  data: Split,
  setting: Setting,
  transforms: readonly { name: string; apply: (data: Dataset) => Dataset }[],
): Scenario {
  const classes = classesOf(data)
  if (typeof name !== 'string') wrong('name', 'a string', name)
  if (!Array.isArray(transforms) || transforms.some((t) => typeof t?.apply !== 'function')) {
    wrong('transforms', 'a list of { name, apply(data) }', transforms)
  }
  const parts = transforms.map(
    ({ name: label, apply }): Part => ({
      name: label,
      classes,
      train: () => apply(data.train),
      test: () => apply(data.test),
    }),
  )
  return scenarioOf(`${name} (${setting})`, setting, parts, data.train.shape)
}

/** Options of permuted(). */
export interface PermutedOptions {
  /** 5 by default. */
  tasks?: number
  /** 'domain' by default. */
  setting?: Setting
  /** Of the permutations; 0 by default. */
  seed?: number
}

/**
 * Every task sees the inputs' elements in an order of its own (Goodfellow et al., arXiv 1312.6211);
 * the first task sees them as they are.
 */
export function permuted(data: Split, options: PermutedOptions = {}): Scenario {
  const { tasks = 5, setting = 'domain', seed = 0 } = checkOptions(options)
  checkInteger(tasks, 'tasks', 1)
  checkSplit(data)
  const width = data.train.shape.reduce((a, b) => a * b, 1)
  const generator = new Generator(seed)
  const transforms = Array.from({ length: tasks }, (_, t) => {
    const order = t === 0 ? null : generator.permutation(width)
    return {
      name: t === 0 ? 'as they are' : `permutation ${t}`,
      apply: (source: Dataset) =>
        order ? { ...source, inputs: reorder(source.inputs, order) } : source,
    }
  })
  return transformed('permuted', data, setting, transforms)
}

function reorder(inputs: Float32Array, order: Int32Array): Float32Array {
  const rows = Tensor.from({ data: inputs, shape: [inputs.length / order.length, order.length] })
  return scope(
    () => gather(rows, 1, Tensor.from({ data: order, shape: [order.length] })).data,
  ) as Float32Array
}

/** Options of rotated(). */
export interface RotatedOptions {
  /** 5 by default. */
  tasks?: number
  /** 'domain' by default. */
  setting?: Setting
  /** In degrees, counter-clockwise, one a task; evenly over [0, 180) by default. */
  angles?: readonly number[]
}

/** Every task sees the images turned by an angle of its own (Lopez-Paz & Ranzato, arXiv 1706.08840). */
export function rotated(data: Split, options: RotatedOptions = {}): Scenario {
  const { setting = 'domain' } = checkOptions(options)
  if (options.angles !== undefined && !Array.isArray(options.angles)) {
    wrong('angles', 'a list of angles', options.angles)
  }
  const tasks = checkInteger(options.tasks ?? options.angles?.length ?? 5, 'tasks', 1)
  const angles = options.angles ?? Array.from({ length: tasks }, (_, t) => (180 * t) / tasks)
  if (angles.length !== tasks) wrong('angles', `${tasks} angles, one a task`, angles)
  const transforms = angles.map((angle) => ({
    name: `${Number(checkNumber(angle, 'angles', -360, 360).toFixed(1))}°`,
    apply: (source: Dataset) => (angle === 0 ? source : rotateImages(source, angle)),
  }))
  return transformed('rotated', data, setting, transforms)
}

/**
 * The same stream seen once: every example passes in a small batch and does not come again, unless a
 * strategy remembers it.
 */
export function online(scenario: Scenario, options: { batchSize?: number } = {}): Scenario {
  const { batchSize = 10 } = checkOptions(options)
  checkInteger(batchSize, 'batchSize', 1)
  checkScenario(scenario)
  return { ...scenario, name: `online ${scenario.name}`, online: batchSize }
}

/** The same stream with at most so many examples a task, for trials. */
export function limited(scenario: Scenario, options: { train: number; test: number }): Scenario {
  const { train, test } = requireOptions(options)
  checkInteger(train, 'train', 1)
  checkInteger(test, 'test', 1)
  checkScenario(scenario)
  const first = (data: Dataset, n: number) =>
    subset(
      data,
      Int32Array.from({ length: Math.min(n, data.labels.length) }, (_, i) => i),
    )
  return {
    ...scenario,
    experiences: scenario.experiences.map((experience) => ({
      ...experience,
      train: () => first(experience.train(), train),
      test: () => first(experience.test(), test),
    })),
  }
}

/** Throws unless the values are a dataset with at least one example. */
export function checkExamples(data: Dataset, name: string): Dataset {
  if (checkDataset(data, name).labels.length === 0)
    throw new ArgumentError(`'${name}' holds no example`)
  return data
}
