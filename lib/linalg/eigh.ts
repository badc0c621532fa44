/** Eigenvalues and eigenvectors of symmetric matrices. */

import type { AsyncOptions } from '../engine/async.js'
import type { ArrayLike } from '../tensor/interop.js'
import type { Tensor } from '../tensor/tensor.js'
import { emptyLike, type Prepared, resultOf, run, runLater, squareStack } from './factor.js'

/** a = vectors·diag(values)·vectorsᵀ. */
export interface Eigh {
  /** […, n], ascending. */
  values: Tensor
  /** […, n, n]; column i belongs to value i. */
  vectors: Tensor
}

function prepare(a: ArrayLike): Prepared<Eigh> {
  const stack = squareStack(a, 'a')
  const { rows: n, leading } = stack
  const values = emptyLike(stack, 1, n)
  const vectors = emptyLike(stack, n, n)
  return {
    name: 'eigh',
    tensors: [stack.x, values, vectors],
    result: () => ({
      values: resultOf(stack, values, [...leading, n]),
      vectors: resultOf(stack, vectors, [...leading, n, n]),
    }),
  }
}

/**
 * The eigendecomposition of a symmetric matrix: tridiagonal form by reflections, then divide and
 * conquer (Gu & Eisenstat 1995). Only the lower triangle is read. In every eigenvector the entry of
 * largest magnitude is positive. On another device: one-sided Jacobi on the matrix, made definite by a
 * shift; errors stay below a few ε·‖a‖ there too. No gradient.
 *
 * @param a […, n, n], float32 or float64; leading axes are a batch
 * @throws NumericalError where a holds NaN or Inf
 */
export const eigh = (a: ArrayLike): Eigh => run(prepare(a))

/** `eigh` on another thread. */
export const eighAsync = async (a: ArrayLike, options: AsyncOptions = {}): Promise<Eigh> =>
  runLater(prepare(a), options)

/** The eigenvalues alone, […, n] ascending: the vectors' part of the work is saved. */
export function eigvalsh(a: ArrayLike): Tensor {
  const stack = squareStack(a, 'a')
  const values = emptyLike(stack, 1, stack.rows)
  return run({
    name: 'eigh',
    tensors: [stack.x, values, null],
    result: () => resultOf(stack, values, [...stack.leading, stack.rows]),
  })
}
