/** Dion: momentum orthonormalised at low rank. */

import { number } from '../engine/call.js'
import { checkChoice, checkInteger, checkNumber } from '../engine/check.js'
import { Generator } from '../random/generator.js'
import type { Shape } from '../tensor/shape.js'
import {
  type BufferSpec,
  type CommonOptions,
  checkDecay,
  checkPositive,
  full,
  register,
} from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'
import { checkMatrix, type LayoutOptions, matricesOf } from './orthogonalized.js'

/** Options of Dion, with the meanings and defaults of microsoft/dion. */
export interface DionOptions extends CommonOptions, LayoutOptions {
  /** Rank of the update as a fraction of the shorter side, rounded up; 1 by default. */
  rankFraction: number
  /** μ: what the error feedback leaves of the part of the momentum that was used; 0.95 by default. */
  momentum: number
  /** Decoupled: p ← p(1 − lr·λ); 0.01 by default. */
  weightDecay: number
  /** Added to the norm of a column of the right factor; 1e-8 by default. */
  eps: number
  /** Seed of the first right factor; 0 by default. */
  seed: number
}

declare module './algorithm.js' {
  interface AlgorithmOptions {
    dion: DionOptions
  }
}

/** How many columns the right factor of a parameter has. */
function rankOf(shape: Shape, o: DionOptions): number {
  const { rows, cols } = matricesOf(shape, o)
  const side = Math.min(rows, cols)
  return Math.min(side, Math.ceil(o.rankFraction * side))
}

const dion = register<DionOptions>({
  name: 'dion',
  code: 4,
  defaults: {
    lr: 0.01,
    rankFraction: 1,
    momentum: 0.95,
    weightDecay: 0.01,
    eps: 1e-8,
    seed: 0,
    batchAxes: 0,
    outputAxis: 'first',
    stateDtype: 'float32',
  },
  check(o) {
    checkNumber(o.rankFraction, 'rankFraction', Number.MIN_VALUE, 1)
    checkDecay(o.momentum, 'momentum')
    checkPositive(o.weightDecay, 'weightDecay')
    checkNumber(o.eps, 'eps', Number.MIN_VALUE, 1)
    checkInteger(o.seed, 'seed', 0)
    checkInteger(o.batchAxes, 'batchAxes', 0, 6)
    checkChoice(o.outputAxis, 'outputAxis', ['first', 'last'])
  },
  checkShape(shape, name) {
    checkMatrix(shape, name, 'dion')
  },
  buffers(shape, o): Record<string, BufferSpec> {
    const { batch, rows, cols } = matricesOf(shape, o)
    const fill = (array: Float32Array) => {
      const generator = new Generator(o.seed)
      for (let i = 0; i < array.length; i++) array[i] = generator.normal()
    }
    const length = batch * Math.min(rows, cols) * rankOf(shape, o)
    return { momentum: full(shape), q: { length, dtype: 'float32', fill } }
  },
  write(o, members) {
    for (const value of [o.lr * o.weightDecay, o.momentum, o.eps]) number(value)
    for (const { shape, step } of members) {
      const { batch, rows, cols, neurons, inputs } = matricesOf(shape, o)
      for (const value of [step, batch, rows, cols, rankOf(shape, o)]) number(value)
      number(o.lr * Math.sqrt(neurons / inputs))
    }
  },
})

/**
 * Dion (arXiv 2504.05295; microsoft/dion): M ← M + g; a rank-r approximation M ≈ PRᵀ by one power
 * iteration from the last right factor Q, P orthonormal; error feedback M ← M − (1 − μ)PRᵀ; Q ← R with
 * columns of norm 1; p ← p(1 − lr·λ) − lr·√(out/in)·PQᵀ. For hidden matrices and convolution kernels
 * (flattened to out × rest); default learning rate 0.01. State: one number a parameter, and
 * min(out, in)·r.
 *
 * Cheaper than Newton–Schulz where the rank is well below the shorter side; the error feedback keeps
 * what was left out for later steps. Unlike the reference code, a direction that depends linearly on
 * the others (a momentum of lower rank than r) is left out instead of filled with rounding errors.
 */
export class Dion extends Optimizer<DionOptions> {
  constructor(params: Params<DionOptions>, options: OptimizerOptions<DionOptions> = {}) {
    super(dion, params, options)
  }
}
