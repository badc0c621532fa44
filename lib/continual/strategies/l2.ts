/** L2: parameters are held to where the last task left them, all as firmly. */

import { checkNumber, checkOptions, wrong } from '../../engine/check.js'
import { onesLike, type Tensor } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { lastLayer } from '../distillation.js'
import { Holding } from '../penalty.js'

/** Options of L2. */
export interface L2Options {
  /** λ in (λ/2) ‖θ − θ*‖²; 0.01 by default. */
  lambda?: number
  /** Which parameters are held, by path; all by default. */
  include?: (name: string) => boolean
}

/**
 * L2 parameter regularization (Smith et al., arXiv 2203.17269; the paper has no ½): EWC with F = 1 and
 * one anchor. Rows of the last layer whose classes have not come yet are free.
 */
export class L2 extends Holding {
  readonly name = 'l2'
  readonly options: Required<L2Options>

  constructor(options: L2Options = {}) {
    super()
    const { lambda = 0.01, include = () => true } = checkOptions(options)
    if (typeof include !== 'function') wrong('include', 'a function of names', include)
    this.options = { lambda: checkNumber(lambda, 'lambda', 0), include }
  }

  afterBackward(c: Context): void {
    this.penalty.addGradient(c.parameters, this.options.lambda)
  }

  afterExperience(c: Context): void {
    // F is made anew: decay 0.
    this.penalty.renew(c.parameters, this.#weights(c), 0)
  }

  #weights(c: Context): Tensor[] {
    const { outputs, experiences } = c.scenario
    const head = Object.values(lastLayer(c.model, outputs))
    const seen = experiences.slice(0, c.position.experience + 1).map(({ columns }) => columns)
    return c.parameters.map((x, i) => {
      const weights = onesLike(x)
      if (!this.options.include(c.names[i] as string)) weights.zero_()
      else if (head.includes(x)) {
        const row = x.size / outputs
        weights.zero_()
        for (const [from, to] of seen) weights.array.fill(1, from * row, to * row)
      }
      return weights
    })
  }
}
