/**
 * Rehearsal-free: prediction and feature distillation (Smith et al., A Closer Look at Rehearsal-Free
 * Continual Learning, arXiv 2203.17269). The paper combines them with L2 and EWC: here that is a list,
 * such as `[new PredKd(), new L2()]`, trained with `trainingHead: 'own'`, as the paper's code trains
 * the classes of the current task alone.
 */

import { checkChoice, checkNumber, checkOptions } from '../../engine/check.js'
import { bceWithLogits, mseLoss } from '../../nn/losses.js'
import { noGrad, type Tensor } from '../../tensor/index.js'
import { type Context, columnsOf } from '../context.js'
import { Distillation, distillation, lastLayer, type Watch, watchInput } from '../distillation.js'

/** Options of PredKd. */
export interface PredKdOptions {
  /** 1 by default. */
  lambda?: number
  /** Of 'softmax' distillation; 2 by default. */
  temperature?: number
  /**
   * 'softmax' (default): T²·KL(old ‖ new). 'sigmoid': binary cross-entropy of every old class's output
   * with the teacher's probability, the paper's variant.
   */
  kind?: 'softmax' | 'sigmoid'
}

/** PredKD: the outputs of earlier tasks stay what the model of the last task's end says. */
export class PredKd extends Distillation {
  readonly name = 'pred-kd'
  readonly options: Required<PredKdOptions>

  constructor(options: PredKdOptions = {}) {
    super()
    const { lambda = 1, temperature = 2, kind = 'softmax' } = checkOptions(options)
    this.options = {
      lambda: checkNumber(lambda, 'lambda', 0),
      temperature: checkNumber(temperature, 'temperature', 1e-3),
      kind: checkChoice(kind, 'kind', ['softmax', 'sigmoid']),
    }
  }

  loss(c: Context, loss: Tensor): Tensor {
    const { lambda, temperature, kind } = this.options
    const old = lambda === 0 ? null : this.teacher.ask(c.batch.inputs)
    if (!old) return loss
    const heads = c.pastColumns()
    if (kind === 'softmax')
      return loss.add(distillation(c.logits, old, heads, temperature).mul(lambda))
    return heads.reduce((sum, head) => {
      const goal = noGrad(() => columnsOf(old, head).sigmoid())
      return sum.add(bceWithLogits(columnsOf(c.logits, head), goal).mul(lambda))
    }, loss)
  }
}

/** Options of FeatKd. */
export interface FeatKdOptions {
  /** Of the mean over examples and features of (f − f_old)²; 1 by default. */
  lambda?: number
}

/** FeatKD: the features that the last layer sees stay those of the model of the last task's end. */
export class FeatKd extends Distillation {
  readonly name = 'feat-kd'
  readonly options: Required<FeatKdOptions>
  #watch: Watch | null = null

  constructor(options: FeatKdOptions = {}) {
    super()
    const { lambda = 1 } = checkOptions(options)
    this.options = { lambda: checkNumber(lambda, 'lambda', 0) }
  }

  batch(c: Context, batch: Context['batch']): Context['batch'] {
    this.#watch = watchInput(lastLayer(c.model, c.scenario.outputs))
    return batch
  }

  loss(c: Context, loss: Tensor): Tensor {
    const watch = this.#watch as Watch
    const features = watch.read()
    watch.stop()
    const { model } = this.teacher
    if (!model || this.options.lambda === 0) return loss
    const old = watchInput(lastLayer(model, c.scenario.outputs))
    this.teacher.ask(c.batch.inputs)
    old.stop()
    return loss.add(mseLoss(features, old.read()).mul(this.options.lambda))
  }
}
