/** Lion: sign of an interpolated momentum. */

import { number } from '../engine/call.js'
import { type CommonOptions, checkBetas, checkPositive, full, register } from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'

/** Options of Lion. */
export interface LionOptions extends CommonOptions {
  /** [0.9, 0.99] by default. */
  betas: [number, number]
  /** Decoupled; 0 by default. */
  weightDecay: number
}

declare module './algorithm.js' {
  interface AlgorithmOptions {
    lion: LionOptions
  }
}

const lion = register<LionOptions>({
  name: 'lion',
  code: 2,
  maskable: true,
  defaults: { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0, stateDtype: 'float32' },
  check(o) {
    checkBetas(o.betas)
    checkPositive(o.weightDecay, 'weightDecay')
  },
  buffers(shape) {
    return { m: full(shape) }
  },
  write(o, members) {
    for (const value of [o.lr, ...o.betas, o.weightDecay]) number(value)
    for (const { step } of members) number(step)
  },
})

/**
 * Lion (Chen et al., arXiv 2302.06675): p ← p(1 − lr·λ) − lr·sign(β₁m + (1 − β₁)g), then
 * m ← β₂m + (1 − β₂)g. Default learning rate 1e-4. State: one number a parameter.
 */
export class Lion extends Optimizer<LionOptions> {
  constructor(params: Params<LionOptions>, options: OptimizerOptions<LionOptions> = {}) {
    super(lion, params, options)
  }
}
