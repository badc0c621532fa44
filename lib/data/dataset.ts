/** Examples with class numbers, and batches of them. */

import { checkInstance, checkInteger, requireOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { Generator } from '../random/generator.js'
import { checkShape, shownShape, sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

/** Inputs of one shape, each with a class number. */
export interface Dataset {
  /** All inputs, one after the other. */
  readonly inputs: Float32Array
  readonly labels: Int32Array
  /** The shape of one input. */
  readonly shape: readonly number[]
}

/** Refuses what is no dataset. */
export function checkDataset(data: Dataset, name = 'data'): Dataset {
  if (!(data?.inputs instanceof Float32Array) || !(data.labels instanceof Int32Array)) {
    wrong(name, 'a Dataset: { inputs: Float32Array, labels: Int32Array, shape }', data)
  }
  const { inputs, labels } = data
  const shape = checkShape(data.shape, `${name}.shape`)
  if (inputs.length !== labels.length * sizeOf(shape)) {
    throw new ShapeError(
      `'${name}': ${inputs.length} values are not ${labels.length} inputs of shape ${shownShape(shape)}`,
    )
  }
  return data
}

/** Some of a dataset's examples, in the given order. */
export function subset(data: Dataset, indices: ArrayLike<number>): Dataset {
  checkDataset(data)
  if (typeof indices !== 'object' || indices === null)
    wrong('indices', 'a list of numbers', indices)
  const width = data.inputs.length / data.labels.length
  const inputs = new Float32Array(indices.length * width)
  const labels = new Int32Array(indices.length)
  for (let i = 0; i < indices.length; i++) {
    const from = checkInteger(indices[i], 'indices', 0, data.labels.length - 1)
    inputs.set(data.inputs.subarray(from * width, (from + 1) * width), i * width)
    labels[i] = data.labels[from] as number
  }
  return { inputs, labels, shape: data.shape }
}

/** A batch: inputs [n, …shape] and int32 targets [n]. */
export interface Batch {
  inputs: Tensor
  targets: Tensor
}

/** Some of a dataset's examples as tensors with memory of their own. */
export function batchOf(data: Dataset, indices: Int32Array): Batch {
  const part = subset(data, indices)
  return {
    inputs: Tensor.from({ data: part.inputs, shape: [indices.length, ...data.shape] }),
    targets: Tensor.from({ data: part.labels, shape: [indices.length] }),
  }
}

/** Options of batches. */
export interface BatchOptions {
  batchSize: number
  /** Shuffles; in order where missing. */
  generator?: Generator
  /** Leaves out a last batch that is not full; false by default. */
  dropLast?: boolean
}

/** Goes through a dataset once. Each batch has memory of its own. */
export function* batches(data: Dataset, options: BatchOptions): IterableIterator<Batch> {
  const { batchSize, generator, dropLast = false } = requireOptions(options)
  checkInteger(batchSize, 'batchSize', 1)
  if (generator !== undefined) checkInstance(generator, Generator, 'generator')
  const n = checkDataset(data).labels.length
  const order = generator ? generator.permutation(n) : Int32Array.from({ length: n }, (_, i) => i)
  for (let start = 0; start < n; start += batchSize) {
    const indices = order.subarray(start, Math.min(start + batchSize, n))
    if (dropLast && indices.length < batchSize) return
    yield batchOf(data, indices)
  }
}
