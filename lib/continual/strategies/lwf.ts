/** Learning without forgetting: new examples must be answered as the old model answered them. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import type { Tensor } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { Distillation, distillation } from '../distillation.js'

/** Options of Lwf. */
export interface LwfOptions {
  /** Of the distillation; 1 by default. */
  lambda?: number
  /** Softens both distributions; 2 by default. */
  temperature?: number
}

/**
 * LwF (Li & Hoiem, arXiv 1606.09282): L + λ·T²·KL(old ‖ new) over the outputs of earlier tasks, on the
 * current examples, with the model of the last task's end as teacher. The paper's warm-up of a new
 * head alone is left out, as in most later work.
 */
export class Lwf extends Distillation {
  readonly name = 'lwf'
  readonly options: Required<LwfOptions>

  constructor(options: LwfOptions = {}) {
    super()
    const { lambda = 1, temperature = 2 } = checkOptions(options)
    checkNumber(lambda, 'lambda', 0)
    checkNumber(temperature, 'temperature', 1e-3)
    this.options = { lambda, temperature }
  }

  loss(c: Context, loss: Tensor): Tensor {
    const { lambda, temperature } = this.options
    const old = lambda === 0 ? null : this.teacher.ask(c.batch.inputs)
    if (!old) return loss
    return loss.add(distillation(c.logits, old, c.pastColumns(), temperature).mul(lambda))
  }
}
