/** Singular value decomposition. */

import type { AsyncOptions } from '../engine/async.js'
import type { ArrayLike } from '../tensor/interop.js'
import type { Tensor } from '../tensor/tensor.js'
import { emptyLike, type Prepared, resultOf, run, runLater, stackOf } from './factor.js'

/** a = u·diag(s)·vt with k = min(m, n), or a best approximation of rank k. */
export interface Svd {
  /** […, m, k], orthonormal columns. */
  u: Tensor
  /** […, k], descending, non-negative. */
  s: Tensor
  /** […, k, n], orthonormal rows. */
  vt: Tensor
}

function prepare(a: ArrayLike): Prepared<Svd> {
  const stack = stackOf(a, 'a')
  const { rows, cols, leading } = stack
  const k = Math.min(rows, cols)
  const u = emptyLike(stack, rows, k)
  const s = emptyLike(stack, 1, k)
  const vt = emptyLike(stack, k, cols)
  return {
    name: 'svd',
    tensors: [stack.x, u, s, vt],
    result: () => ({
      u: resultOf(stack, u, [...leading, rows, k]),
      s: resultOf(stack, s, [...leading, k]),
      vt: resultOf(stack, vt, [...leading, k, cols]),
    }),
  }
}

/**
 * The thin singular value decomposition: bidiagonal form by reflections (after a QR decomposition
 * where one side is much longer), then divide and conquer (Gu & Eisenstat 1995). In every column of u
 * the entry of largest magnitude is positive, the first of equals, as scikit-learn fixes signs. On
 * another device: one-sided Jacobi after the QR decomposition (Drmač & Veselić 2008), and of equal
 * magnitudes with different signs the positive one counts. No gradient.
 *
 * @param a […, m, n], float32 or float64; leading axes are a batch
 * @throws NumericalError where a holds NaN or Inf
 */
export const svd = (a: ArrayLike): Svd => run(prepare(a))

/** `svd` on another thread. */
export const svdAsync = async (a: ArrayLike, options: AsyncOptions = {}): Promise<Svd> =>
  runLater(prepare(a), options)

/** The singular values alone, […, min(m, n)] descending: the vectors' part of the work is saved. */
export function svdvals(a: ArrayLike): Tensor {
  const stack = stackOf(a, 'a')
  const k = Math.min(stack.rows, stack.cols)
  const s = emptyLike(stack, 1, k)
  return run({
    name: 'svd',
    tensors: [stack.x, null, s, null],
    result: () => resultOf(stack, s, [...stack.leading, k]),
  })
}
