/** From rows of a dataset to a batch. */

import { subset } from '../data/dataset.js'
import { Tensor } from '../tensor/tensor.js'
import type { Batch, TaskDataset } from './strategy.js'

/** The given rows; `task` is the label of those that the dataset does not label itself. */
export function batchOf(data: TaskDataset, rows: Int32Array, task: number): Batch {
  const part = subset(data, rows)
  const { tasks } = data
  return {
    inputs: Tensor.from({ data: part.inputs, shape: [rows.length, ...data.shape] }),
    targets: Tensor.from({ data: part.labels, shape: [rows.length] }),
    tasks: tasks
      ? Int32Array.from(rows, (row) => tasks[row] as number)
      : new Int32Array(rows.length).fill(task),
  }
}

/** All of a dataset as one batch over its own memory. */
export const wholeBatch = (data: TaskDataset, task: number): Batch => ({
  inputs: Tensor.from({ data: data.inputs, shape: [data.labels.length, ...data.shape] }),
  targets: Tensor.from({ data: data.labels, shape: [data.labels.length] }),
  tasks: data.tasks ?? new Int32Array(data.labels.length).fill(task),
})
