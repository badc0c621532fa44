/** Elastic weight consolidation: parameters are held as firmly as they matter, by the Fisher information. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import type { Context } from '../context.js'
import { type FisherOptions, fisherDiagonal, fisherOptions } from '../importance.js'
import { Holding } from '../penalty.js'

/** Options of Ewc. */
export interface EwcOptions extends FisherOptions {
  /** λ in (λ/2) Σ F (θ − θ*)²; 50 by default. Plain SGD diverges where λ·F·lr is above 2. */
  lambda?: number
}

/**
 * EWC (Kirkpatrick et al., arXiv 1612.00796): L + (λ/2) Σ_t Σ_i F_t,i (θ_i − θ_t,i)², one term a
 * finished task. The terms are kept as one (penalty.ts), which has the same slope at constant memory.
 */
export class Ewc extends Holding {
  readonly name: string = 'ewc'
  readonly options: Required<EwcOptions>

  constructor(options: EwcOptions = {}) {
    super()
    const { lambda = 50, ...fisher } = checkOptions(options)
    this.options = { lambda: checkNumber(lambda, 'lambda', 0), ...fisherOptions(fisher) }
  }

  afterBackward(c: Context): void {
    this.penalty.addGradient(c.parameters, this.options.lambda)
  }

  afterExperience(c: Context): void {
    this.penalty.extend(c.parameters, fisherDiagonal(c, this.options))
  }
}
