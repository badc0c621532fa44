/** Memory aware synapses: importance is how much the outputs move with a parameter. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import type { Context } from '../context.js'
import { type ImportanceOptions, importanceOptions, meanMagnitude } from '../importance.js'
import { Holding } from '../penalty.js'

/** Options of Mas. */
export interface MasOptions extends ImportanceOptions {
  /** λ in λ Σ Ω (θ − θ*)²; 0.01 by default. */
  lambda?: number
}

/**
 * MAS (Aljundi et al., arXiv 1711.09601): Ω adds, after every task, the mean magnitude of the slope of
 * ‖f(x)‖², which needs no labels; λ Σ Ω (θ − θ*)² holds the parameters.
 */
export class Mas extends Holding {
  readonly name = 'mas'
  readonly options: Required<MasOptions>

  constructor(options: MasOptions = {}) {
    super()
    const { lambda = 0.01, ...rest } = checkOptions(options)
    this.options = { lambda: checkNumber(lambda, 'lambda', 0), ...importanceOptions(rest) }
  }

  afterBackward(c: Context): void {
    this.penalty.addGradient(c.parameters, 2 * this.options.lambda)
  }

  afterExperience(c: Context): void {
    const omega = meanMagnitude(c, this.options, (_, logits) => logits.square().sum(1))
    this.penalty.renew(c.parameters, omega, 1)
  }
}
