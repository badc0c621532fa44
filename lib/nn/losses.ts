/** Losses. Each gives a scalar, the mean by default. */

import { mean, square, sub, sum } from '../autograd/ops/index.js'
import { checkChoice } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'

export { type CrossEntropyOptions, crossEntropy } from '../autograd/ops/softmax.js'

/** How the elements' losses become one. */
export type Reduction = 'mean' | 'sum' | 'none'

function reduced(x: Tensor, reduction: Reduction): Tensor {
  checkChoice(reduction, 'reduction', ['mean', 'sum', 'none'])
  return reduction === 'mean' ? mean(x) : reduction === 'sum' ? sum(x) : x
}

/** (x − target)². */
export function mseLoss(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean' as Reduction } = {},
): Tensor {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `'target' has shape ${shownShape(target.shape)}, expected ${shownShape(x.shape)}`,
    )
  }
  return reduced(square(sub(x, target)), reduction)
}

/** Binary cross-entropy from logits, softplus(x) − x·target, without overflow. */
export function bceWithLogits(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean' as Reduction } = {},
): Tensor {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `'target' has shape ${shownShape(target.shape)}, expected ${shownShape(x.shape)}`,
    )
  }
  return reduced(x.softplus().sub(x.mul(target)), reduction)
}

/**
 * KL(target ‖ x) of log-probabilities: Σ exp(target)·(target − x) over the last axis, mean over rows.
 * Both in log space, unlike PyTorch's default.
 */
export function klDiv(x: Tensor, target: Tensor): Tensor {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `'target' has shape ${shownShape(target.shape)}, expected ${shownShape(x.shape)}`,
    )
  }
  return mean(sum(target.exp().mul(sub(target, x)), -1))
}
