/**
 * PiSSA: principal singular values and vectors adaptation (Meng, Wang & Zhang, arXiv 2404.02948).
 *
 * W = U·S·Vᵀ; with the leading r: B = U_r·√S_r, A = √S_r·V_rᵀ are trained, W_res = W − B·A stays. As in
 * peft the singular values are divided by alpha / r first, so that W_res + (alpha / r)·B·A = W.
 */

import { checkInteger, checkNumber, checkOptions, requireOptions, wrong } from '../engine/check.js'
import { randomizedSvd, type Svd, svd } from '../linalg/index.js'
import type { Module } from '../nn/index.js'
import { binaryInto } from '../tensor/elementwise.js'
import { scope, type Tensor } from '../tensor/index.js'
import { checkFloating, checkTensor } from '../tensor/interop.js'
import { type AdapterOptions, type Adapters, attach, type Start } from './adapters.js'

/** Options of pissa. */
export interface PissaOptions extends AdapterOptions {
  /**
   * Power iterations of a randomized SVD without oversampling (peft's 'pissa_niter_N'; a rank that is no
   * multiple of 16 gets the columns up to one); the exact decomposition where missing.
   */
  niter?: number
  /** Of the randomized SVD; 0 by default. */
  seed?: number
}

/** PiSSA's start for one weight [out, in]. */
export function pissaStart(
  weight: Tensor,
  options: { rank: number; scale: number; niter?: number; seed?: number },
): Required<Start> {
  const { rank, scale, niter, seed = 0 } = requireOptions(options)
  const { shape } = checkFloating(checkTensor(weight, 'weight'), 'weight')
  if (shape.length !== 2) wrong('weight', 'a matrix', shape)
  checkInteger(rank, 'rank', 1, Math.min(...shape))
  checkNumber(scale, 'scale', Number.MIN_VALUE, Number.MAX_VALUE)
  if (niter !== undefined) checkInteger(niter, 'niter', 0, 100)
  checkInteger(seed, 'seed', 0)
  return scope(() => {
    const w = weight.to('float32')
    const { u, s, vt }: Svd =
      niter === undefined
        ? svd(w)
        : randomizedSvd(w, rank, { powerIterations: niter, oversamples: 0, seed })
    const root = s.slice(0, 0, rank).div(scale).sqrt()
    const b = u.slice(1, 0, rank).mul(root)
    const a = vt.slice(0, 0, rank).mul(root.unsqueeze(1))
    const principal = b.mul(scale).matmul(a)
    // In place where that fits: a third matrix of this size would push the weight out of the caches.
    const base =
      weight.dtype === 'float32'
        ? binaryInto('sub', weight, principal, principal)
        : weight.sub(principal)
    return { a, b, base }
  })
}

/**
 * Adapters that hold the principal part of every weight, which keeps the residual: the model's outputs
 * are what they were, to rounding.
 *
 * @throws NumericalError where a weight holds NaN or Inf
 */
export function pissa(model: Module, given: PissaOptions = {}): Adapters {
  const { niter, seed, ...options } = checkOptions(given)
  if (niter !== undefined) checkInteger(niter, 'niter', 0, 100)
  if (seed !== undefined) checkInteger(seed, 'seed', 0)
  const method = niter === undefined ? 'pissa' : `pissa_niter_${niter}`
  return attach(model, method, options, (weight, { rank, scale }) =>
    pissaStart(weight, {
      rank,
      scale,
      ...(niter === undefined ? {} : { niter }),
      ...(seed === undefined ? {} : { seed }),
    }),
  )
}
