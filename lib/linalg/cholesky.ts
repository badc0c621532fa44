/** Cholesky decomposition. */

import type { AsyncOptions } from '../engine/async.js'
import type { ArrayLike } from '../tensor/interop.js'
import type { Tensor } from '../tensor/tensor.js'
import { emptyLike, type Prepared, resultOf, run, runLater, squareStack } from './factor.js'

function prepare(a: ArrayLike): Prepared<Tensor> {
  const stack = squareStack(a, 'a')
  const { rows: n, leading } = stack
  const l = emptyLike(stack, n, n)
  return {
    name: 'cholesky',
    tensors: [stack.x, l],
    result: () => resultOf(stack, l, [...leading, n, n]),
  }
}

/**
 * The lower triangle L with a = L·Lᵀ. Only the lower triangle of a is read. No gradient.
 *
 * @param a […, n, n], symmetric positive definite, float32 or float64; leading axes are a batch
 * @returns L […, n, n], zeros above the diagonal
 * @throws NumericalError where a is not positive definite (the message names the row), or holds NaN
 */
export const cholesky = (a: ArrayLike): Tensor => run(prepare(a))

/** `cholesky` on another thread. */
export const choleskyAsync = async (a: ArrayLike, options: AsyncOptions = {}): Promise<Tensor> =>
  runLater(prepare(a), options)
