/** Stochastic gradient descent with momentum. */

import { number } from '../engine/call.js'
import { checkNumber, wrong } from '../engine/check.js'
import { type BufferSpec, type CommonOptions, checkPositive, full, register } from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'

/** Options of SGD, with PyTorch's meanings and defaults. */
export interface SgdOptions extends CommonOptions {
  /** 0 by default. */
  momentum: number
  /** 0 by default. */
  dampening: number
  /** L2 penalty, added to the gradient; 0 by default. */
  weightDecay: number
  /** Needs momentum above 0 and dampening 0; false by default. */
  nesterov: boolean
  /** Ascends instead. */
  maximize: boolean
}

declare module './algorithm.js' {
  interface AlgorithmOptions {
    sgd: SgdOptions
  }
}

const sgd = register<SgdOptions>({
  name: 'sgd',
  code: 0,
  maskable: true,
  defaults: {
    lr: 1e-3,
    momentum: 0,
    dampening: 0,
    weightDecay: 0,
    nesterov: false,
    maximize: false,
    stateDtype: 'float32',
  },
  check(o) {
    checkPositive(o.momentum, 'momentum')
    checkNumber(o.dampening, 'dampening')
    checkPositive(o.weightDecay, 'weightDecay')
    if (o.nesterov && (o.momentum === 0 || o.dampening !== 0)) {
      wrong('nesterov', 'momentum above 0 and dampening 0', o.nesterov)
    }
  },
  buffers(shape, o): Record<string, BufferSpec> {
    return o.momentum === 0 ? {} : { momentum: full(shape) }
  },
  write(o, members) {
    for (const value of [o.lr, o.momentum, o.dampening, o.weightDecay]) number(value)
    for (const flag of [o.nesterov, o.maximize]) number(flag)
    for (const { step } of members) number(step)
  },
})

/**
 * SGD as in PyTorch: b ← μb + (1 − τ)g (b = g at first), p ← p − lr·b; with Nesterov g + μb.
 * Default learning rate 1e-3. State: one number a parameter where momentum is not 0.
 */
export class SGD extends Optimizer<SgdOptions> {
  constructor(params: Params<SgdOptions>, options: OptimizerOptions<SgdOptions> = {}) {
    super(sgd, params, options)
  }
}
