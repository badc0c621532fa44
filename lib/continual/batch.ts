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
  const { labels, tasks } = data
  const n = rows.length
  // A list of numbers for each is too short for a native call.
  const targets = new Int32Array(n)
  const own = new Int32Array(n).fill(task)
  for (let i = 0; i < n; i++) {
    const row = rows[i] as number
    targets[i] = labels[row] as number
    if (tasks) own[i] = tasks[row] as number
  }
  return {
    inputs: gather(tensorsOf(data).inputs, 0, Tensor.from({ data: rows, shape: [n] })),
    targets: Tensor.from({ data: targets, shape: [n] }),
    tasks: own,
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
