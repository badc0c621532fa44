/** Norms of matrices. */

import { wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import { svdvals } from './svd.js'

/** 'fro' √Σa², 2 the largest singular value, 'nuc' their sum. */
export type MatrixNorm = 'fro' | 2 | 'nuc'

/**
 * A norm of each matrix of a […, m, n]: a tensor of the leading axes' shape. 'fro' by default; it is
 * differentiable, the others are not.
 *
 * @throws NumericalError (2 and 'nuc') where a holds NaN or Inf
 */
export function matrixNorm(a: ArrayLike, order: MatrixNorm = 'fro'): Tensor {
  const x = toTensor(a, 'a')
  if (x.rank < 2)
    throw new ShapeError(`'a' has shape ${shownShape(x.shape)}, expected at least two axes`)
  if (order !== 'fro' && order !== 2 && order !== 'nuc') wrong('order', "'fro', 2 or 'nuc'", order)
  if (order === 'fro') return x.norm([-2, -1])
  return scope(() => {
    const s = svdvals(x)
    return order === 2 ? s.max(-1) : s.sum(-1)
  })
}
