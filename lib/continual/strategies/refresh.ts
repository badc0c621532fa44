/** Refresh learning: every batch is unlearned a little before it is learned. */

import { checkInteger, checkNumber, checkOptions } from '../../engine/check.js'
import { randn } from '../../random/index.js'
import { binaryInto } from '../../tensor/elementwise.js'
import { grad, noGrad, type Tensor } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { type FisherOptions, fisherDiagonal, fisherOptions } from '../importance.js'
import { QuadraticPenalty } from '../penalty.js'
import type { StateValue } from '../state.js'
import type { Strategy } from '../strategy.js'

/** Options of Refresh. */
export interface RefreshOptions extends FisherOptions {
  /** δ, the share of a parameter's norm that one unlearning step moves it; 1e-5 by default. */
  rate?: number
  /** J, unlearning steps a batch; 1 by default. */
  steps?: number
  /** The noise beside the ascent's direction; 1e-3 by default. */
  noise?: number
  /** How much the Fisher information slows unlearning; 1e-3 by default. */
  damping?: number
  /** What is left of the Fisher information of earlier tasks; 1e-5 by default. */
  decay?: number
}

/**
 * Refresh (Wang et al., A Unified and General Framework for Continual Learning, arXiv 2403.13249), a
 * plug-in for any other strategy. The paper unlearns by θ ← θ + γF⁻¹∇L + N(0, 2γF⁻¹), J times, then takes
 * the usual step. Here as in its public code (joey-wang123/CL-refresh-learning, models/derpp.py), where
 * the ascent of each parameter tensor is scaled to that tensor's norm:
 * θ ← θ + δ·(‖θ‖·∇L/‖∇L‖ + 1e-3·noise) / (1 + 1e-3·F), ∇L the gradient of the new examples' cross-entropy
 * and F accumulated at task ends with weights p(y|x).
 */
export class Refresh implements Strategy {
  readonly name = 'refresh'
  readonly options: Required<RefreshOptions>
  /** Only its Fisher information is used. */
  readonly #fisher = new QuadraticPenalty()

  constructor(options: RefreshOptions = {}) {
    const {
      rate = 1e-5,
      steps = 1,
      noise = 1e-3,
      damping = 1e-3,
      decay = 1e-5,
    } = checkOptions(options)
    this.options = {
      rate: checkNumber(rate, 'rate', 0),
      steps: checkInteger(steps, 'steps', 1),
      noise: checkNumber(noise, 'noise', 0),
      damping: checkNumber(damping, 'damping', 0),
      decay: checkNumber(decay, 'decay', 0, 1),
      ...fisherOptions({ weighted: true, ...options }),
    }
  }

  beforeStep(c: Context): void {
    const { rate, steps } = this.options
    if (rate === 0) return
    // Unlearning must not count for running statistics, such as batch norm's.
    const buffers = c.model.namedBuffers().map(([, x]) => [x, x.clone()] as const)
    for (let step = 0; step < steps; step++) {
      const loss = c.classify(c.forward(c.fresh.inputs), c.fresh)
      const ascent = grad(loss, c.parameters)
      noGrad(() => {
        c.parameters.forEach((x, i) => {
          this.#unlearn(c, x, ascent[i] as Tensor, this.#fisher.importance[i])
        })
      })
    }
    for (const [x, before] of buffers) x.copy_(before)
  }

  #unlearn(c: Context, x: Tensor, ascent: Tensor, fisher: Tensor | undefined): void {
    const { rate, noise, damping } = this.options
    const length = ascent.norm().item()
    if (length === 0) return
    const { generator } = c
    let move = ascent.mul((rate * x.norm().item()) / length)
    if (noise > 0) move = move.add(randn(x.shape, { generator }).mul(rate * noise))
    if (fisher) move = move.div(fisher.mul(damping).add(1))
    binaryInto('add', x, move, x)
  }

  afterExperience(c: Context): void {
    if (this.options.rate === 0) return
    this.#fisher.renew(c.parameters, fisherDiagonal(c, this.options), this.options.decay)
  }

  state(): StateValue {
    return this.#fisher.state()
  }

  loadState(state: StateValue): void {
    this.#fisher.loadState(state)
  }
}
