/** Dark experience replay++: the memory keeps what the model answered when it saw an example. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import { mseLoss } from '../../nn/losses.js'
import type { Tensor } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { Rehearsal } from '../memory.js'

/** Options of DerPlusPlus. */
export interface DerPlusPlusOptions {
  /** Examples kept; 200 by default. */
  memory?: number
  /** Examples drawn for each of the two terms; as many as the batch has by default. */
  replay?: number
  /** Of the distance to the remembered outputs; 0.5 by default. */
  alpha?: number
  /** Of the cross-entropy of remembered examples; 1 by default. 0 makes it DER. */
  beta?: number
}

/**
 * DER++ (Buzzega et al., arXiv 2004.07211): L + α·MSE(z, z_memory) on one draw from the memory and
 * β·cross-entropy on another; outputs are stored as they were when the example was trained on.
 */
export class DerPlusPlus extends Rehearsal {
  readonly name = 'der++'
  readonly options: Required<Omit<DerPlusPlusOptions, 'replay'>> & { replay: number | undefined }

  constructor(options: DerPlusPlusOptions = {}) {
    const { memory = 200, replay, alpha = 0.5, beta = 1 } = checkOptions(options)
    super(memory, replay)
    checkNumber(alpha, 'alpha', 0)
    checkNumber(beta, 'beta', 0)
    this.options = { memory, replay, alpha, beta }
  }

  loss(c: Context, loss: Tensor): Tensor {
    const { alpha, beta, replay = c.fresh.tasks.length } = this.options
    const dark = this.memory.sample(replay, c.generator)
    const plain = this.memory.sample(replay, c.generator)
    if (!dark?.logits || !plain) return loss
    const distance = mseLoss(c.forward(dark.inputs), dark.logits).mul(alpha)
    if (beta === 0) return loss.add(distance)
    return loss.add(distance).add(c.classify(c.forward(plain.inputs), plain).mul(beta))
  }

  afterStep(c: Context): void {
    // Other strategies may have added rows behind the batch's own.
    const own = c.logits.detach().slice(0, 0, c.fresh.tasks.length)
    this.memory.offer(c.fresh, c.generator, own)
  }
}
