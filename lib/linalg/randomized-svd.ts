/** A low-rank singular value decomposition from products with random panels. */

import type { AsyncOptions } from '../engine/async.js'
import { checkChoice, checkInteger, checkNumber, checkOptions } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import type { ArrayLike } from '../tensor/interop.js'
import { shownShape } from '../tensor/shape.js'
import { emptyLike, type Prepared, resultOf, run, runLater, stackOf } from './factor.js'
import type { Svd } from './svd.js'

// In the order of Normalizer in native/include/palimpsest/ops/randomized_svd.h.
const normalizers = ['none', 'qr', 'lu'] as const
const methods = ['power', 'block-krylov', 'single-pass'] as const

/** Options of randomizedSvd. */
export interface RandomizedSvdOptions {
  /**
   * At least so many columns beyond `rank` in the random panel; 10 by default. The panel's width is
   * rounded up to a multiple of 16, which costs nothing.
   */
  oversamples?: number
  /**
   * Times that A·Aᵀ is applied. 'auto' (default): 7 where rank is below a tenth of the shorter side,
   * else 4, as scikit-learn decides; ignored by 'single-pass'.
   */
  powerIterations?: 'auto' | number
  /**
   * Between products: 'qr' orthonormalizes the panel, 'lu' makes it the lower factor of LU with partial
   * pivoting, 'none' leaves it ('block-krylov' then takes 'qr'). 'auto' (default) is 'qr', where
   * scikit-learn takes 'none' for up to two iterations and else 'lu': by Cholesky's method it costs less
   * than LU, and keeps the small singular values that float32 loses without.
   */
  normalizer?: 'auto' | (typeof normalizers)[number]
  /** Of the random panel; 0 by default: the same input gives the same bits. */
  seed?: number
  /**
   * Adaptive rank: the least r ≤ `rank` with ‖a − a_r‖_F ≤ tolerance·‖a‖_F, found by doubling the
   * panel. 0 (default) takes `rank` as it is. In float32 below 1e-3 rounding decides.
   */
  tolerance?: number
  /**
   * 'power' (default): Halko, Martinsson & Tropp 2011. 'block-krylov' keeps the panels of all
   * iterations (Musco & Musco 2015): fewer columns each for the same accuracy. 'single-pass' reads a
   * once (Tropp et al. 2017): less accurate.
   */
  method?: (typeof methods)[number]
}

function prepare(a: ArrayLike, rank: number, options: RandomizedSvdOptions): Prepared<Svd> {
  const {
    oversamples = 10,
    powerIterations = 'auto',
    normalizer = 'auto',
    seed = 0,
    tolerance = 0,
    method = 'power',
  } = checkOptions(options)
  checkInteger(rank, 'rank', 1)
  checkInteger(oversamples, 'oversamples', 0, 2 ** 31)
  checkInteger(seed, 'seed', 0)
  checkNumber(tolerance, 'tolerance', 0, 1)
  checkChoice(normalizer, 'normalizer', ['auto', ...normalizers] as const)
  const methodNumber = methods.indexOf(checkChoice(method, 'method', methods))
  // As takes_device_matrices in native/ops/device_svd.cpp decides.
  const stack = stackOf(a, 'a', (rows, cols, streamed) => {
    const width = Math.ceil((Math.min(rank, rows, cols) + oversamples) / 16) * 16
    const narrow = width <= 96 && width < Math.min(rows, cols)
    return streamed && narrow && method === 'power' && normalizer !== 'lu' && tolerance === 0
  })
  const { rows, cols, leading } = stack
  const short = Math.min(rows, cols)
  const iterations =
    powerIterations === 'auto'
      ? rank < 0.1 * short
        ? 7
        : 4
      : checkInteger(powerIterations, 'powerIterations', 0, 100)
  if (tolerance > 0 && leading.length > 0) {
    throw new ShapeError(
      `'a' has shape ${shownShape([...leading, rows, cols])}: matrices of a batch would differ in rank, so that 'tolerance' takes a single one`,
    )
  }
  const k = Math.min(rank, short)
  const u = emptyLike(stack, rows, k)
  const s = emptyLike(stack, 1, k)
  const vt = emptyLike(stack, k, cols)
  const numbers = [
    rank,
    oversamples,
    iterations,
    normalizers.indexOf(normalizer === 'auto' ? 'qr' : normalizer),
    methodNumber,
    seed,
    tolerance,
  ]
  return {
    name: 'randomizedSvd',
    tensors: [stack.x, u, s, vt],
    numbers,
    result: (answer) => {
      const all = {
        u: resultOf(stack, u, [...leading, rows, k]),
        s: resultOf(stack, s, [...leading, k]),
        vt: resultOf(stack, vt, [...leading, k, cols]),
      }
      if (tolerance === 0) return all
      const found = answer as number
      return {
        u: all.u.slice(-1, 0, found),
        s: all.s.slice(-1, 0, found),
        vt: all.vt.slice(-2, 0, found),
      }
    },
  }
}

/**
 * The leading `rank` singular values and vectors of a, by the randomized range finder (Halko,
 * Martinsson & Tropp 2011, algorithms 4.4 and 5.1): a is read 2·powerIterations + 2 times, as it
 * lies. Expected error in the spectral norm (their corollary 10.10): at most
 * (1 + √(r/(p − 1)) + e√(r + p)/p · √(min(m, n) − r))^(1/(2q + 1)) times σ_{r+1}, with p oversamples
 * and q iterations. Where the CPU has tile registers (AMX), float32 products before the last two keep 16
 * bits: they only turn the panel, and the last two, in full, leave no more error than float32 does. Signs
 * are fixed as svd fixes them; the same bits for any number of threads. No
 * gradient. On another device a panel of up to 96 columns stays there with a; wider ones, an adaptive
 * rank, 'lu' and other methods go by way of the CPU.
 *
 * @param a […, m, n], float32 or float64, any strides; leading axes are a batch
 * @param rank how many; min(m, n) where it is more. A panel as wide as a gives the exact decomposition.
 * @throws NumericalError where a holds NaN or Inf
 */
export const randomizedSvd = (
  a: ArrayLike,
  rank: number,
  options: RandomizedSvdOptions = {},
): Svd => run(prepare(a, rank, options))

/** `randomizedSvd` on another thread. */
export const randomizedSvdAsync = async (
  a: ArrayLike,
  rank: number,
  options: RandomizedSvdOptions & AsyncOptions = {},
): Promise<Svd> => runLater(prepare(a, rank, options), options)
