/** QR decomposition. */

import type { AsyncOptions } from '../engine/async.js'
import type { ArrayLike } from '../tensor/interop.js'
import type { Tensor } from '../tensor/tensor.js'
import { emptyLike, type Prepared, resultOf, run, runLater, stackOf } from './factor.js'

/** a = q·r with k = min(m, n). */
export interface Qr {
  /** […, m, k], orthonormal columns. */
  q: Tensor
  /** […, k, n], upper triangle, non-negative diagonal. */
  r: Tensor
}

function prepare(a: ArrayLike): Prepared<Qr> {
  const stack = stackOf(a, 'a')
  const { rows, cols, leading } = stack
  const k = Math.min(rows, cols)
  const q = emptyLike(stack, rows, k)
  const r = emptyLike(stack, k, cols)
  return {
    name: 'qr',
    tensors: [stack.x, q, r],
    result: () => ({
      q: resultOf(stack, q, [...leading, rows, k]),
      r: resultOf(stack, r, [...leading, k, cols]),
    }),
  }
}

/**
 * The thin QR decomposition by blocked Householder reflections (Schreiber & Van Loan 1989). The
 * diagonal of r is non-negative, which makes the factors of a full-rank matrix unique. No gradient.
 *
 * @param a […, m, n], float32 or float64; leading axes are a batch
 * @throws NumericalError where a holds NaN or Inf
 */
export const qr = (a: ArrayLike): Qr => run(prepare(a))

/** `qr` on another thread. */
export const qrAsync = async (a: ArrayLike, options: AsyncOptions = {}): Promise<Qr> =>
  runLater(prepare(a), options)
