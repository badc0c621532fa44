/** Linear systems. */

import type { AsyncOptions } from '../engine/async.js'
import { checkOptions } from '../engine/check.js'
import { DTypeError, ShapeError } from '../engine/errors.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import {
  emptyLike,
  type Prepared,
  resultOf,
  run,
  runLater,
  squareStack,
  stackOf,
} from './factor.js'

/** Options of solveTriangular. */
export interface TriangularOptions {
  /** Whether t is an upper triangle; false (lower) by default. */
  upper?: boolean
  /** Takes t's diagonal for ones without reading it; false by default. */
  unitriangular?: boolean
  /** Solves tᵀ·x = b; false by default. */
  transpose?: boolean
}

function prepare(
  name: 'solve' | 'solveTriangular',
  a: ArrayLike,
  b: ArrayLike,
  numbers: readonly boolean[] = [],
  transpose = false,
): Prepared<Tensor> {
  const matrices = squareStack(a, name === 'solve' ? 'a' : 't')
  const given = toTensor(b, 'b')
  const vector = given.rank === 1
  const right = stackOf(vector ? given.detach().reshape(-1, 1) : given, 'b')
  if (right.x.dtype !== matrices.x.dtype)
    throw new DTypeError(`'b' has dtype ${right.x.dtype}, expected ${matrices.x.dtype}`)
  if (right.rows !== matrices.rows || right.batch !== matrices.batch) {
    throw new ShapeError(
      `'b' has shape ${shownShape(given.shape)}, expected ${matrices.rows} rows and the batch [${matrices.leading.join(', ')}]`,
    )
  }
  const x = emptyLike(right, right.rows, right.cols)
  const left = matrices.x.to(right.x.device)
  return {
    name,
    tensors: [transpose ? left.transpose() : left, right.x, x],
    numbers,
    result: () =>
      resultOf(right, x, vector ? given.shape : [...right.leading, right.rows, right.cols]),
  }
}

/**
 * x with a·x = b, by LU with partial pivoting. No gradient.
 *
 * @param a […, n, n], float32 or float64; leading axes are a batch
 * @param b […, n, k], or [n] for a single system; of a's dtype and batch
 * @returns x, of b's shape
 * @throws NumericalError where a is exactly singular, or NaN or Inf is among the values
 */
export const solve = (a: ArrayLike, b: ArrayLike): Tensor => run(prepare('solve', a, b))

/** `solve` on another thread. */
export const solveAsync = async (
  a: ArrayLike,
  b: ArrayLike,
  options: AsyncOptions = {},
): Promise<Tensor> => runLater(prepare('solve', a, b), options)

/**
 * x with t·x = b for a triangle t, by substitution; the other side of t is not read. No gradient.
 *
 * @param t […, n, n]
 * @param b […, n, k], or [n]
 * @throws NumericalError where a diagonal entry is zero
 */
export function solveTriangular(
  t: ArrayLike,
  b: ArrayLike,
  options: TriangularOptions = {},
): Tensor {
  const { upper = false, unitriangular = false, transpose = false } = checkOptions(options)
  // The transpose of an upper triangle is a lower one.
  return run(prepare('solveTriangular', t, b, [upper === transpose, unitriangular], transpose))
}
