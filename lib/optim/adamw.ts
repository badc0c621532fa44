/** Adam with decoupled weight decay. */

import { number } from '../engine/call.js'
import { type CommonOptions, checkBetas, checkPositive, full, register } from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'

/** Options of AdamW, with PyTorch's meanings and defaults. */
export interface AdamWOptions extends CommonOptions {
  /** [0.9, 0.999] by default. */
  betas: [number, number]
  /** 1e-8 by default. */
  eps: number
  /** 0.01 by default; p ← p(1 − lr·λ) before the step. */
  weightDecay: number
  /** Divides by the largest second moment so far. */
  amsgrad: boolean
  /** Ascends instead. */
  maximize: boolean
  /** False makes the decay an L2 penalty in the gradient: Adam. */
  decoupled: boolean
}

declare module './algorithm.js' {
  interface AlgorithmOptions {
    adamw: AdamWOptions
  }
}

const adamw = register<AdamWOptions>({
  name: 'adamw',
  code: 1,
  maskable: true,
  defaults: {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0.01,
    amsgrad: false,
    maximize: false,
    decoupled: true,
    stateDtype: 'float32',
  },
  check(o) {
    checkBetas(o.betas)
    checkPositive(o.eps, 'eps')
    checkPositive(o.weightDecay, 'weightDecay')
  },
  buffers(shape, o) {
    const two = { m: full(shape), v: full(shape) }
    return o.amsgrad ? { ...two, vMax: full(shape) } : two
  },
  write(o, members) {
    for (const value of [o.lr, ...o.betas, o.eps, o.weightDecay]) number(value)
    for (const flag of [o.amsgrad, o.decoupled, o.maximize]) number(flag)
    for (const { step } of members) number(step)
  },
})

/**
 * AdamW (Loshchilov & Hutter 2019) as in PyTorch. Default learning rate 1e-3. State: two numbers a
 * parameter (three with amsgrad).
 */
export class AdamW extends Optimizer<AdamWOptions> {
  constructor(params: Params<AdamWOptions>, options: OptimizerOptions<AdamWOptions> = {}) {
    super(adamw, params, options)
  }
}
