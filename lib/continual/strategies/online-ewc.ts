/** Online EWC: one anchor, and a Fisher information in which old tasks fade. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import type { Context } from '../context.js'
import { type FisherOptions, fisherDiagonal, fisherOptions } from '../importance.js'
import { Holding } from '../penalty.js'

/** Options of OnlineEwc. */
export interface OnlineEwcOptions extends FisherOptions {
  /** λ in (λ/2) Σ F (θ − θ*)²; 50 by default. Plain SGD diverges where λ·F·lr is above 2. */
  lambda?: number
  /** γ: what is left of the Fisher information of earlier tasks; 1 by default. */
  gamma?: number
}

/**
 * Online EWC (Schwarz et al., arXiv 1805.06370): F ← γF + F_t after every task, with θ* the parameters
 * of then. Some public code uses γF in the penalty too; here F is used as it is.
 */
export class OnlineEwc extends Holding {
  readonly name = 'online-ewc'
  readonly options: Required<OnlineEwcOptions>

  constructor(options: OnlineEwcOptions = {}) {
    super()
    const { lambda = 50, gamma = 1, ...fisher } = checkOptions(options)
    this.options = {
      lambda: checkNumber(lambda, 'lambda', 0),
      gamma: checkNumber(gamma, 'gamma', 0, 1),
      ...fisherOptions(fisher),
    }
  }

  afterBackward(c: Context): void {
    this.penalty.addGradient(c.parameters, this.options.lambda)
  }

  afterExperience(c: Context): void {
    this.penalty.renew(c.parameters, fisherDiagonal(c, this.options), this.options.gamma)
  }
}
