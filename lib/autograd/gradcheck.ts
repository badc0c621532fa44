/** Checks gradient rules against central differences. */

import { checkFunction, checkNumber, checkOptions } from '../engine/check.js'
import { NumericalError } from '../engine/errors.js'
import { scope } from '../tensor/scope.js'
import { Tensor } from '../tensor/tensor.js'
import { grad } from './backward.js'
import { checkLeaves } from './functional.js'
import { mul, sum } from './ops/index.js'

/** Options of gradcheck. */
export interface GradcheckOptions {
  /** Step of the differences; 1e-6 suits float64. */
  step?: number
  /** |analytic − numeric| may be `atol + rtol·|numeric|`. */
  atol?: number
  rtol?: number
}

/**
 * Compares the gradients of `fn` with central differences, entry by entry.
 *
 * @param fn from the inputs to one tensor, built of differentiable operations; called many times
 * @param inputs float64 tensors
 * @throws NumericalError naming the first entry that disagrees
 */
export function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): void {
  const { step = 1e-6, atol = 1e-6, rtol = 1e-5 } = checkOptions(options)
  checkFunction(fn, 'fn')
  checkNumber(step, 'step', Number.MIN_VALUE)
  checkNumber(atol, 'atol', 0)
  checkNumber(rtol, 'rtol', 0)
  checkLeaves(inputs, 'inputs')
  const leaves = inputs.map((x) => x.clone().detach().requireGrad())
  // A fixed, uneven weighting of the outputs turns them into one number.
  const weigh = (y: Tensor): Tensor => {
    const weights = Float64Array.from({ length: y.size }, (_, i) => Math.cos(1 + i))
    return sum(mul(y, Tensor.from({ data: weights, shape: y.shape })))
  }
  const analytic = grad(weigh(fn(...leaves)), leaves)
  // Recorded too: `fn` may itself take gradients.
  const value = () => scope(() => weigh(fn(...leaves)).item())
  leaves.forEach((leaf, k) => {
    const { data } = leaf
    const slopes = (analytic[k] as Tensor).data
    for (let i = 0; i < data.length; i++) {
      const x = data[i] as number
      data[i] = x + step
      const above = value()
      data[i] = x - step
      const below = value()
      data[i] = x
      const numeric = (above - below) / (2 * step)
      const given = slopes[i] as number
      if (!(Math.abs(given - numeric) <= atol + rtol * Math.abs(numeric))) {
        throw new NumericalError(
          `gradient of input ${k} at entry ${i}: the rule gives ${given}, central differences ${numeric}`,
        )
      }
    }
  })
}
