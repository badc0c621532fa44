/** From rows of a dataset to a batch. */

import type { Dataset } from '../data/dataset.js'
import { gather } from '../tensor/indexing.js'
import { Tensor } from '../tensor/tensor.js'
import type { Batch, TaskDataset } from './strategy.js'

/** Inputs and labels as tensors over the dataset's own memory. */
const tensorsOf = ({ inputs, labels, shape }: Dataset) => ({
  inputs: Tensor.from({ data: inputs, shape: [labels.length, ...shape] }),
  targets: Tensor.from({ data: labels, shape: [labels.length] }),
})

/** The given rows; `task` is the label of those that the dataset does not label itself. */
export function batchOf(data: TaskDataset, rows: Int32Array, task: number): Batch {
  const { inputs, targets } = tensorsOf(data)
  const index = Tensor.from({ data: rows, shape: [rows.length] })
  const { tasks } = data
  return {
    inputs: gather(inputs, 0, index),
    targets: gather(targets, 0, index),
    tasks: tasks
      ? Int32Array.from(rows, (row) => tasks[row] as number)
      : new Int32Array(rows.length).fill(task),
  }
}

/** Examples [from, to) as tensors over the dataset's own memory. */
export function stretchOf({ inputs, labels, shape }: Dataset, from: number, to: number) {
  const width = inputs.length / labels.length
  return tensorsOf({
    inputs: inputs.subarray(from * width, to * width),
    labels: labels.subarray(from, to),
    shape,
  })
}

/** All of a dataset as one batch over its own memory. */
export const wholeBatch = (data: TaskDataset, task: number): Batch => ({
  ...tensorsOf(data),
  tasks: data.tasks ?? new Int32Array(data.labels.length).fill(task),
})
