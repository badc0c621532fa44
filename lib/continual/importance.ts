/** How much parameters matter for what was learned, measured by gradients on the experience's data. */

import { checkChoice, checkInteger } from '../engine/check.js'
import { binaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, Tensor, zerosLike } from '../tensor/index.js'
import { batchOf } from './batch.js'
import { type Context, columnsOf } from './context.js'
import { chosen } from './memory.js'
import type { Batch } from './strategy.js'

/** How importance is measured. */
export interface ImportanceOptions {
  /** Examples looked at, chosen at random; 500 by default, all where there are fewer. */
  samples?: number
  /** Examples a gradient: 1 (default) takes every example's own, more that of a batch's mean. */
  batchSize?: number
}

/** Options of the Fisher information. */
export interface FisherOptions extends ImportanceOptions {
  /**
   * Whose gradient is squared: that of the 'given' labels (empirical Fisher, default) or of labels
   * 'sampled' from the model (the Fisher information itself; Kunstner et al., arXiv 1905.12558).
   */
  labels?: 'given' | 'sampled'
  /** Weighs every square by the probability of its label, as some public code does; false by default. */
  weighted?: boolean
}

/** Checked, with defaults. */
export function importanceOptions(options: ImportanceOptions): Required<ImportanceOptions> {
  const { samples = 500, batchSize = 1 } = options
  return {
    samples: checkInteger(samples, 'samples', 1),
    batchSize: checkInteger(batchSize, 'batchSize', 1),
  }
}

/** Checked, with defaults. */
export const fisherOptions = (options: FisherOptions): Required<FisherOptions> => ({
  ...importanceOptions(options),
  labels: checkChoice(options.labels ?? 'given', 'labels', ['given', 'sampled']),
  weighted: options.weighted ?? false,
})

/**
 * The mean of something of the gradients of an objective over the current experience's examples, with
 * the model in evaluation mode.
 *
 * @param objective a scalar
 * @param gather adds what counts of one gradient to a parameter's sum; it may overwrite the gradient
 * @returns one tensor a parameter
 */
export function meanOverGradients(
  c: Context,
  { samples, batchSize }: Required<ImportanceOptions>,
  objective: (batch: Batch, logits: Tensor) => Tensor,
  gather: (sum: Tensor, grad: Tensor, objective: number) => void,
): Tensor[] {
  const { trainData, parameters, model } = c
  const n = trainData.labels.length
  const rows = Int32Array.from(chosen(n, Math.min(samples, n), c.generator))
  const sums = parameters.map((x) => zerosLike(x))
  const { training } = model
  model.eval()
  let count = 0
  try {
    for (let at = 0; at < rows.length; at += batchSize, count++) {
      scope(() => {
        const part = rows.subarray(at, at + batchSize)
        const batch = batchOf(trainData, part, c.position.experience)
        const value = objective(batch, c.forward(batch.inputs))
        value.backward()
        parameters.forEach((x, i) => {
          if (x.grad) gather(sums[i] as Tensor, x.grad, value.item())
          x.grad = null
        })
      })
    }
  } finally {
    model.train(training)
  }
  for (const sum of sums) binaryInto('mul', sum, 1 / count, sum)
  return sums
}

/** The diagonal of the Fisher information: the mean square of ∂ log p(y|x) / ∂θ. */
export function fisherDiagonal(c: Context, options: Required<FisherOptions>): Tensor[] {
  return meanOverGradients(
    c,
    options,
    (batch, logits) =>
      c.classify(logits, options.labels === 'given' ? batch : drawn(c, batch, logits)),
    (sum, grad, loss) => {
      binaryInto('mul', grad, grad, grad)
      if (options.weighted) binaryInto('mul', grad, Math.exp(-loss), grad)
      binaryInto('add', sum, grad, sum)
    },
  )
}

/** The batch with labels drawn from the model's own probabilities over the outputs that it trains. */
function drawn(c: Context, batch: Batch, logits: Tensor): Batch {
  const targets = Int32Array.from(batch.tasks, (task, row) => {
    const columns = c.trainColumns(task)
    const probabilities = noGrad(() => columnsOf(logits.slice(0, row, row + 1), columns).softmax())
    let left = c.generator.uniform()
    let label = 0
    for (const p of probabilities.clone().data) {
      left -= p
      if (left < 0) break
      label++
    }
    return columns[0] + Math.min(label, columns[1] - columns[0] - 1)
  })
  return { ...batch, targets: Tensor.from({ data: targets, shape: [targets.length] }) }
}
