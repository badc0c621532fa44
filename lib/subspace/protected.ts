/** Protected subspaces: an orthonormal basis that grows, and gradients kept out of it. */

import { checkNumber, wrong } from '../engine/check.js'
import { qr, svd } from '../linalg/index.js'
import { cat, noGrad, scope, type Tensor } from '../tensor/index.js'
import { checkFloating, type ArrayLike as TensorLike, toTensor } from '../tensor/interop.js'

/** x without its part in the span of the basis' columns: x − B(Bᵀx). x [n, …], B [n, k]. */
export function withoutSpan(x: TensorLike, basis: TensorLike | null): Tensor {
  const given = checkFloating(toTensor(x, 'x'), 'x')
  if (basis === null) return given
  const b = basisOf(basis, given)
  return given.sub(b.matmul(b.T.matmul(given)))
}

/** A basis of the space that a tensor's columns lie in. */
function basisOf(basis: TensorLike, x: Tensor): Tensor {
  const b = checkFloating(toTensor(basis, 'basis'), 'basis')
  if (b.rank !== 2 || b.shape[0] !== x.shape[0]) {
    wrong('basis', `a matrix of ${x.shape[0]} rows`, b.shape)
  }
  return b
}

/**
 * How many leading singular values hold a fraction of an energy Σσ²: the least k with
 * known + Σ_{i≤k} σᵢ² ≥ threshold · total.
 */
export function countForEnergy(
  values: ArrayLike<number>,
  threshold: number,
  total: number,
  known = 0,
): number {
  if (typeof values !== 'object' || values === null) wrong('values', 'a list of numbers', values)
  for (const value of Array.from(values)) checkNumber(value, 'values')
  checkNumber(threshold, 'threshold', 0, 1)
  checkNumber(total, 'total', 0)
  checkNumber(known, 'known', 0)
  let energy = known
  let k = 0
  while (k < values.length && energy < threshold * total) {
    energy += (values[k] as number) ** 2
    k++
  }
  return k
}

/**
 * Extends a basis by the leading directions of a matrix until `threshold` of its energy lies in the
 * span (GPM's rule, arXiv 2103.09762, equation 9): the part that the basis holds already counts.
 *
 * @param basis [n, k] orthonormal columns, or null for none
 * @param matrix [n, samples]
 * @param threshold in [0, 1]
 * @returns a new basis [n, k′], k′ ≤ n; null where there is still nothing to protect
 */
export function extendBasis(
  given: TensorLike | null,
  columns: TensorLike,
  threshold: number,
): Tensor | null {
  checkNumber(threshold, 'threshold', 0, 1)
  const matrix = checkFloating(toTensor(columns, 'matrix'), 'matrix')
  if (matrix.rank !== 2) wrong('matrix', 'a tensor of two axes', matrix.shape)
  const basis = given === null ? null : basisOf(given, matrix)
  return noGrad(() =>
    scope(() => {
      const total = matrix.norm().item() ** 2
      const rest = withoutSpan(matrix, basis)
      const known = Math.max(0, total - rest.norm().item() ** 2)
      const { u, s } = svd(rest)
      // What is left of rounding is no direction.
      const floor = 1e-5 * (s.size > 0 ? Math.max(s.data[0] as number, Math.sqrt(total)) : 0)
      const room = (matrix.shape[0] as number) - (basis?.shape[1] ?? 0)
      const k = Math.min(
        countForEnergy(s.data, threshold, total, known),
        s.data.filter((x) => x > floor).length,
        room,
      )
      if (k === 0) return basis?.clone() ?? null
      const added = u.slice(1, 0, k)
      if (basis === null) return added.clone()
      // Once more against rounding; qr keeps the first columns, whose signs its rule fixes.
      return qr(cat([basis, withoutSpan(added, basis)], 1)).q
    }),
  )
}
