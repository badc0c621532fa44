/** How much parameters matter for what was learned, measured by gradients on the experience's data. */

import { type LossesOf, samplesTogether, summed } from '../autograd/per-sample.js'
import {
  checkChoice,
  checkFunction,
  checkInstance,
  checkInteger,
  requireOptions,
} from '../engine/check.js'
import { binaryInto, unaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, Tensor, zerosLike } from '../tensor/index.js'
import { batchOf } from './batch.js'
import { Context, columnsOf } from './context.js'
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
  const { samples = 500, batchSize = 1 } = requireOptions(options)
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

/** Rows of the current experience's examples that are looked at. */
function examples({ trainData, generator }: Context, samples: number): Int32Array {
  const n = trainData.labels.length
  return Int32Array.from(chosen(n, Math.min(samples, n), generator))
}

/** Calls `fn` with the model in evaluation mode. */
function evaluated<T>({ model }: Context, fn: () => T): T {
  const { training } = model
  model.eval()
  try {
    return fn()
  } finally {
    model.train(training)
  }
}

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
  options: Required<ImportanceOptions>,
  objective: (batch: Batch, logits: Tensor) => Tensor,
  gather: (sum: Tensor, grad: Tensor, objective: number) => void,
): Tensor[] {
  const { samples, batchSize } = requireOptions(options)
  checkInteger(samples, 'samples', 1)
  checkInteger(batchSize, 'batchSize', 1)
  checkFunction(objective, 'objective')
  checkFunction(gather, 'gather')
  const { trainData, parameters } = checkInstance(c, Context, 'c')
  const rows = examples(c, samples)
  const sums = parameters.map((x) => zerosLike(x))
  let count = 0
  evaluated(c, () => {
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
  })
  for (const sum of sums) binaryInto('mul', sum, 1 / count, sum)
  return sums
}

/**
 * The mean over the current experience's examples of a measure of each one's gradient, with the model in
 * evaluation mode; many examples come from one backward pass.
 *
 * @param losses one a row of the batch
 * @param checked like `losses` but without random draws: finds out whether rows may share a pass
 */
function meanOverSamples(
  c: Context,
  samples: number,
  measure: 'square' | 'abs',
  losses: (batch: Batch, logits: Tensor) => Tensor,
  checked = losses,
): Tensor[] {
  const rows = examples(c, samples)
  const of =
    (each: typeof losses): LossesOf =>
    (begin, end) => {
      const batch = batchOf(c.trainData, rows.subarray(begin, end), c.position.experience)
      return each(batch, c.forward(batch.inputs))
    }
  const sums = evaluated(c, () => {
    const together = samplesTogether(c.parameters, rows.length, of(checked))
    return summed(measure, c.parameters, rows.length, together, of(losses))
  })
  for (const sum of sums) binaryInto('mul', sum, 1 / rows.length, sum)
  return sums
}

/**
 * The mean magnitude of the gradients of an objective: of every example's, or where the batch size is
 * above 1 of the batches' means.
 *
 * @param objective one value a row of the batch
 */
export function meanMagnitude(
  c: Context,
  options: Required<ImportanceOptions>,
  objective: (batch: Batch, logits: Tensor) => Tensor,
): Tensor[] {
  if (options.batchSize === 1) return meanOverSamples(c, options.samples, 'abs', objective)
  return meanOverGradients(
    c,
    options,
    (batch, logits) => objective(batch, logits).mean(),
    (sum, grad) => {
      unaryInto('abs', grad, grad)
      binaryInto('add', sum, grad, sum)
    },
  )
}

/**
 * The diagonal of the Fisher information: the mean square of ∂ log p(y|x) / ∂θ. With a batch size of 1 the
 * squares of many examples come from one backward pass.
 */
export function fisherDiagonal(c: Context, given: Required<FisherOptions>): Tensor[] {
  checkInstance(c, Context, 'c')
  const options = fisherOptions(requireOptions(given))
  const labelled = (batch: Batch, logits: Tensor) =>
    options.labels === 'given' ? batch : drawn(c, batch, logits)
  if (options.batchSize > 1) {
    return meanOverGradients(
      c,
      options,
      (batch, logits) => c.classify(logits, labelled(batch, logits)),
      (sum, grad, loss) => {
        binaryInto('mul', grad, grad, grad)
        if (options.weighted) binaryInto('mul', grad, Math.exp(-loss), grad)
        binaryInto('add', sum, grad, sum)
      },
    )
  }
  const losses = (batch: Batch, logits: Tensor) => {
    const each = c.classify(logits, batch, 'none')
    // p(y|x) times a square is the square of √p times the gradient.
    return options.weighted ? each.mul(each.detach().mul(-0.5).exp()) : each
  }
  return meanOverSamples(
    c,
    options.samples,
    'square',
    (batch, logits) => losses(labelled(batch, logits), logits),
    losses,
  )
}

/** The batch with labels drawn from the model's own probabilities over the outputs that it trains. */
function drawn(c: Context, batch: Batch, logits: Tensor): Batch {
  const seen = new Map<string, ArrayLike<number>>()
  const targets = Int32Array.from(batch.tasks, (task, row) => {
    const columns = c.trainColumns(task)
    const width = columns[1] - columns[0]
    const probabilities =
      seen.get(`${columns}`) ?? noGrad(() => columnsOf(logits, columns).softmax()).clone().data
    seen.set(`${columns}`, probabilities)
    let left = c.generator.uniform()
    let label = 0
    for (; label < width; label++) {
      left -= probabilities[row * width + label] as number
      if (left < 0) break
    }
    return columns[0] + Math.min(label, width - 1)
  })
  return { ...batch, targets: Tensor.from({ data: targets, shape: [targets.length] }) }
}
