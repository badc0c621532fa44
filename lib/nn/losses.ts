/** Losses. Each gives a scalar, the mean by default. */

import { mean, square, sub, sum } from '../autograd/ops/index.js'
import { checkChoice } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'

export { type CrossEntropyOptions, crossEntropy } from '../autograd/ops/softmax.js'

/** How the elements' losses become one. */
export type Reduction = 'mean' | 'sum' | 'none'

function reduced(x: Tensor, reduction: Reduction): Tensor {
  checkChoice(reduction, 'reduction', ['mean', 'sum', 'none'])
  return reduction === 'mean' ? mean(x) : reduction === 'sum' ? sum(x) : x
}

/** Prediction and target, which must have one shape. */
function pairOf(input: ArrayLike, goal: ArrayLike): [Tensor, Tensor] {
  const x = toTensor(input, 'input')
  const target = toTensor(goal, 'target')
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `'target' has shape ${shownShape(target.shape)}, expected ${shownShape(x.shape)}`,
    )
  }
  return [x, target]
}

/** (x − target)². */
export function mseLoss(
  input: ArrayLike,
  goal: ArrayLike,
  { reduction = 'mean' as Reduction } = {},
): Tensor {
  const [x, target] = pairOf(input, goal)
  return reduced(square(sub(x, target)), reduction)
}

/** Binary cross-entropy from logits, softplus(x) − x·target, without overflow. */
export function bceWithLogits(
  input: ArrayLike,
  goal: ArrayLike,
  { reduction = 'mean' as Reduction } = {},
): Tensor {
  const [x, target] = pairOf(input, goal)
  return reduced(x.softplus().sub(x.mul(target)), reduction)
}

/**
 * KL(target ‖ x) of log-probabilities: Σ exp(target)·(target − x) over the last axis, mean over rows.
 * Both in log space, unlike PyTorch's default.
 */
export function klDiv(input: ArrayLike, goal: ArrayLike): Tensor {
  const [x, target] = pairOf(input, goal)
  return mean(sum(target.exp().mul(sub(target, x)), -1))
}
