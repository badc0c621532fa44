/** The Moore–Penrose inverse. */

import { checkNumber, checkOptions } from '../engine/check.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import type { Tensor } from '../tensor/tensor.js'
import { svd } from './svd.js'

/** Options of pinv. */
export interface PinvOptions {
  /**
   * Singular values up to this fraction of the largest count as zero; max(m, n) times the dtype's
   * machine epsilon by default, as in PyTorch.
   */
  rtol?: number
}

/**
 * The pseudo-inverse V·Σ⁺·Uᵀ […, n, m] of a […, m, n], by its singular values. No gradient.
 *
 * @throws NumericalError where a holds NaN or Inf
 */
export function pinv(a: ArrayLike, options: PinvOptions = {}): Tensor {
  const x = toTensor(a, 'a')
  const epsilon = x.dtype === 'float32' ? 2 ** -23 : 2 ** -52
  const rtol = checkNumber(
    checkOptions(options).rtol ?? epsilon * Math.max(...(x.shape.slice(-2) as number[]), 1),
    'rtol',
    0,
    1,
  )
  return scope(() => {
    const { u, s, vt } = svd(x)
    if (s.size === 0) return vt.transpose().matmul(u.transpose())
    const threshold = s.slice(-1, 0, 1).mul(rtol)
    const inverse = s.reciprocal().maskedFill(s.le(threshold), 0)
    return vt.transpose().mul(inverse.unsqueeze(-2)).matmul(u.transpose())
  })
}
