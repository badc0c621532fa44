/** Losses. Each gives a scalar, the mean by default. */

import {
  abs,
  add,
  div,
  eq,
  gt,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  norm,
  square,
  sub,
  sum,
  where,
} from '../autograd/ops/index.js'
import type { CrossEntropyOptions } from '../autograd/ops/softmax.js'
import {
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
} from '../engine/check.js'
import { ArgumentError, DTypeError, ShapeError } from '../engine/errors.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { checkAxis, sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

export { type CrossEntropyOptions, crossEntropy } from '../autograd/ops/softmax.js'

/** How the elements' losses become one. */
export type Reduction = 'mean' | 'sum' | 'none'

function reduced(x: Tensor, reduction: Reduction): Tensor {
  checkChoice(reduction, 'reduction', ['mean', 'sum', 'none'])
  return reduction === 'mean' ? mean(x) : reduction === 'sum' ? sum(x) : x
}

/** Prediction and target, which must have one shape. */
function pairOf(
  input: ArrayLike,
  goal: ArrayLike,
  [first, second] = ['input', 'target'] as [string, string],
): [Tensor, Tensor] {
  const x = toTensor(input, first)
  const target = toTensor(goal, second)
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `'${second}' has shape ${shownShape(target.shape)}, expected ${shownShape(x.shape)}`,
    )
  }
  return [x, target]
}

/** A loss by element, from prediction and target of one shape. */
const byElement =
  (terms: (x: Tensor, target: Tensor) => Tensor) =>
  (input: ArrayLike, goal: ArrayLike, options: { reduction?: Reduction } = {}): Tensor => {
    const { reduction = 'mean' } = checkOptions(options)
    const [x, target] = pairOf(input, goal)
    return reduced(terms(x, target), reduction)
  }

/** (x − target)². */
export const mseLoss = byElement((x, target) => square(sub(x, target)))

/** Binary cross-entropy from logits, softplus(x) − x·target, without overflow. */
export const bceWithLogits = byElement((x, target) => x.softplus().sub(x.mul(target)))

/**
 * KL(target ‖ x) of log-probabilities: Σ target·(log target − x).
 *
 * @param options `logTarget` (true by default, unlike PyTorch): whether the target is in log space
 *   too; `reduction` 'batchMean' (default): Σ over the last axis, mean over the rest
 */
export function klDiv(
  input: ArrayLike,
  goal: ArrayLike,
  options: { logTarget?: boolean; reduction?: Reduction | 'batchMean' } = {},
): Tensor {
  const { logTarget = true, reduction = 'batchMean' } = checkOptions(options)
  const [x, target] = pairOf(input, goal)
  // 0·log 0 is 0.
  const terms = logTarget
    ? target.exp().mul(sub(target, x))
    : where(eq(target, 0), 0, target.mul(sub(where(eq(target, 0), 1, target).log(), x)))
  return reduction === 'batchMean' ? mean(sum(terms, -1)) : reduced(terms, reduction)
}

/** |x − target|. */
export const l1Loss = byElement((x, target) => abs(sub(x, target)))

/** ½d²/β where |d| = |x − target| < β, else |d| − β/2 (Girshick 2015). */
export function smoothL1Loss(
  input: ArrayLike,
  goal: ArrayLike,
  options: { beta?: number; reduction?: Reduction } = {},
): Tensor {
  const { beta = 1, reduction = 'mean' } = checkOptions(options)
  checkNumber(beta, 'beta', 0, Number.MAX_VALUE)
  if (beta === 0) return l1Loss(input, goal, { reduction })
  return mul(huberLoss(input, goal, { delta: beta, reduction }), 1 / beta)
}

/** ½d² where |d| = |x − target| < δ, else δ(|d| − δ/2) (Huber 1964). */
export function huberLoss(
  input: ArrayLike,
  goal: ArrayLike,
  options: { delta?: number; reduction?: Reduction } = {},
): Tensor {
  const { delta = 1, reduction = 'mean' } = checkOptions(options)
  checkNumber(delta, 'delta', Number.MIN_VALUE, Number.MAX_VALUE)
  const [x, target] = pairOf(input, goal)
  const distance = abs(sub(x, target))
  const near = minimum(distance, delta)
  // ½near² + δ(|d| − near): the second part is zero inside.
  return reduced(add(mul(square(near), 0.5), mul(sub(distance, near), delta)), reduction)
}

/** −(target·log x + (1 − target)·log(1 − x)) of probabilities; logarithms are at least −100. */
export const bceLoss = byElement((x, target) => {
  const bounded = (p: Tensor) => maximum(p.log(), -100)
  return neg(add(mul(target, bounded(x)), mul(sub(1, target), bounded(sub(1, x)))))
})

/**
 * −w[t]·x[t] of log-probabilities and class numbers.
 *
 * @param input log-probabilities [n, classes]
 * @param goal int32 [n]
 * @param options as those of crossEntropy
 */
export function nllLoss(
  input: ArrayLike,
  goal: ArrayLike,
  options: Omit<CrossEntropyOptions, 'labelSmoothing'> = {},
): Tensor {
  const { ignoreIndex = -100, reduction = 'mean' } = requireOptions(options)
  checkChoice(reduction, 'reduction', ['mean', 'sum', 'none'])
  checkInteger(ignoreIndex, 'ignoreIndex')
  const x = toTensor(input, 'input')
  const targets = toTensor(goal, 'target')
  const [n, classes] = x.shape as [number, number]
  if (x.rank !== 2 || targets.rank !== 1 || targets.shape[0] !== n) {
    throw new ShapeError(
      `nllLoss needs log-probabilities [n, classes] and targets [n], got ${shownShape(x.shape)} and ${shownShape(targets.shape)}`,
    )
  }
  if (targets.dtype !== 'int32') {
    throw new DTypeError(`'target' has dtype ${targets.dtype}, expected int32`)
  }
  const weights = options.weight ? toTensor(options.weight, 'weight').to('float64') : null
  if (weights && !sameShape(weights.shape, [classes])) {
    throw new ShapeError(`'weight' has shape ${shownShape(weights.shape)}, expected [${classes}]`)
  }
  const list = targets.toArray() as number[]
  const values = weights ? (weights.toArray() as number[]) : null
  const factors = new Float64Array(n * classes)
  let total = 0
  for (const [i, target] of list.entries()) {
    if (target === ignoreIndex) continue
    if (target < 0 || target >= classes) {
      throw new ArgumentError(
        `expected classes in [0, ${classes - 1}] in 'target' but got ${target}`,
      )
    }
    const weight = values ? (values[target] as number) : 1
    factors[i * classes + target] = -weight
    total += weight
  }
  // Multiplying by zero would turn an infinite log-probability of another class into NaN.
  const mask = Tensor.from({ data: factors, shape: [n, classes] })
  const rows = sum(where(eq(mask, 0), 0, mul(x, mask.to(x.dtype))), 1)
  if (reduction === 'none') return rows
  return reduction === 'sum' ? sum(rows) : mul(sum(rows), 1 / total)
}

/** a·b / max(‖a‖·‖b‖, eps) along an axis. */
export function cosineSimilarity(a: ArrayLike, b: ArrayLike, axis = -1, eps = 1e-8): Tensor {
  const [x, y] = pairOf(a, b, ['a', 'b'])
  checkNumber(eps, 'eps', 0)
  checkAxis(axis, x.rank)
  return div(sum(mul(x, y), axis), maximum(mul(norm(x, axis), norm(y, axis)), eps))
}

/**
 * 1 − cos(a, b) for pairs that belong together (label 1), max(0, cos(a, b) − margin) for those that
 * do not (label −1).
 *
 * @param a [n, width]
 * @param b like a
 * @param labels [n], 1 or −1
 */
export function cosineEmbeddingLoss(
  a: ArrayLike,
  b: ArrayLike,
  labels: ArrayLike,
  options: { margin?: number; reduction?: Reduction } = {},
): Tensor {
  const { margin = 0, reduction = 'mean' } = checkOptions(options)
  checkNumber(margin, 'margin')
  const cosine = cosineSimilarity(a, b)
  const signs = toTensor(labels, 'labels')
  if (!sameShape(signs.shape, cosine.shape)) {
    throw new ShapeError(
      `'labels' has shape ${shownShape(signs.shape)}, expected ${shownShape(cosine.shape)}`,
    )
  }
  return reduced(where(gt(signs, 0), sub(1, cosine), maximum(sub(cosine, margin), 0)), reduction)
}

/** max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin) over the last axis. */
export function tripletMarginLoss(
  anchor: ArrayLike,
  positive: ArrayLike,
  negative: ArrayLike,
  options: { margin?: number; reduction?: Reduction } = {},
): Tensor {
  const { margin = 1, reduction = 'mean' } = checkOptions(options)
  checkNumber(margin, 'margin')
  const [a, p] = pairOf(anchor, positive, ['anchor', 'positive'])
  const n = pairOf(anchor, negative, ['anchor', 'negative'])[1]
  const distance = (x: Tensor) => norm(add(sub(a, x), 1e-6), -1)
  return reduced(maximum(add(sub(distance(p), distance(n)), margin), 0), reduction)
}
