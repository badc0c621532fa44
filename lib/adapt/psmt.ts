/** Parameter-selective mean teacher: adapting a model online to changing inputs, without labels. */

import {
  checkFunction,
  checkInstance,
  checkInteger,
  checkIterable,
  checkNumber,
  checkOptions,
  wrong,
} from '../engine/check.js'
import { DiagonalFisher } from '../masks/fisher.js'
import type { Mask } from '../masks/mask.js'
import { Module } from '../nn/module.js'
import { SGD } from '../optim/sgd.js'
import { binaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, type Tensor, where } from '../tensor/index.js'

/** Options of Psmt. */
export interface PsmtOptions {
  /** Of the student's SGD with momentum 0.9; 1e-3 by default. */
  lr?: number
  /** α of the teacher's average θ' ← αθ' + (1 − α)θ; 0.999 by default. 1 leaves the teacher. */
  ema?: number
  /** λ of λ Σ F (θ − θ_source)²; 500 by default. */
  lambda?: number
  /** The part of all parameters that each step restores to the source; 0.03 by default. */
  quantile?: number
  /**
   * Changes inputs for the second half of the student's loss and for the averaged teacher; where missing,
   * both see the inputs as they are.
   */
  augment?: (inputs: Tensor) => Tensor
  /** Augmented views that the teacher averages over when the source is unsure; 8 by default. */
  views?: number
  /** Mean confidence of the source below which it is unsure; 0.92 by default. */
  confidence?: number
}

/** What a step did. */
export interface PsmtStep {
  /** Sum of the teacher's and the student's outputs before the step, [n, classes]: the prediction. */
  logits: Tensor
  loss: number
  /** Whether the teacher averaged over views. */
  averaged: boolean
  /** What was restored to the source, a mask a parameter. */
  restored: Mask[]
}

/** Rows' ½ H(teacher, student) + ½ H(student, teacher), averaged. */
function symmetricCrossEntropy(student: Tensor, teacher: Tensor): Tensor {
  const forth = teacher.softmax().mul(student.logSoftmax())
  const back = student.softmax().mul(teacher.logSoftmax())
  return forth.add(back).sum(1).mean().mul(-0.5)
}

/**
 * PSMT (Tian & Lyu, "Parameter-Selective Continual Test-Time Adaptation", arXiv 2407.02253) in the form of
 * the authors' code (JiaxuTian/PSMT). A student learns from a teacher, its average, on unlabelled
 * inputs; a Fisher penalty holds it near the source. After each step the parameters with the smallest
 * squared gradient of that step are restored to the source in the student; the teacher takes these over
 * and averages the others.
 *
 * The paper's formulas differ from its code: there the penalty is toward the step before instead of the
 * source, and the teacher keeps the parameters that matter instead of taking over those that do not.
 * Here against the code: augmented inputs are really used (there they are computed and dropped), the
 * teacher is averaged once (there a second time before the selective average), and exactly
 * ⌊q·parameters⌋ are restored (there those below an interpolated quantile), so that 0 restores none and
 * 1 all. The source's Fisher information is that of its own predictions on source inputs, as in the
 * code.
 */
export class Psmt {
  /** The model that learns; its parameters are updated in place. */
  readonly student: Module
  readonly teacher: Module
  readonly source: Module
  readonly options: Required<Omit<PsmtOptions, 'augment'>> & Pick<PsmtOptions, 'augment'>
  /** Of the source; null until `measureSource`: then there is no penalty. */
  fisher: DiagonalFisher | null = null
  readonly #optimizer: SGD

  /**
   * @param model trained on the source; becomes the student
   * @param newModel makes a model of the same architecture, for teacher and source
   */
  constructor(model: Module, newModel: () => Module, options: PsmtOptions = {}) {
    const { augment } = checkOptions(options)
    if (augment !== undefined && typeof augment !== 'function')
      wrong('augment', 'a function', augment)
    this.options = {
      lr: checkNumber(options.lr ?? 1e-3, 'lr', 0),
      ema: checkNumber(options.ema ?? 0.999, 'ema', 0, 1),
      lambda: checkNumber(options.lambda ?? 500, 'lambda', 0),
      quantile: checkNumber(options.quantile ?? 0.03, 'quantile', 0, 1),
      views: checkInteger(options.views ?? 8, 'views', 1),
      confidence: checkNumber(options.confidence ?? 0.92, 'confidence', 0, 1),
      ...(augment && { augment }),
    }
    checkInstance(model, Module, 'model')
    checkFunction(newModel, 'newModel')
    const copyOf = () => {
      const copy = checkInstance(newModel(), Module, 'newModel()')
      copy.loadStateDict(model.stateDict())
      return copy.eval()
    }
    this.student = model.eval()
    this.teacher = copyOf()
    this.source = copyOf()
    this.#optimizer = new SGD(model.parameters(), { lr: this.options.lr, momentum: 0.9 })
  }

  /** Measures the source's Fisher information on batches of its inputs, by its own predictions. */
  measureSource(batches: Iterable<Tensor>): void {
    const { source } = this
    checkIterable(batches, 'batches')
    function* predicted() {
      for (const inputs of batches) {
        const targets = noGrad(() => source.call(inputs))
          .argmax(1)
          .to('int32')
        yield { inputs, targets }
      }
    }
    this.fisher = new DiagonalFisher(source.parameters()).estimate(source, predicted())
  }

  /** One step on unlabelled inputs [n, …]; predictions are those of before the step. */
  adapt(inputs: Tensor): PsmtStep {
    const { student, teacher, source, fisher } = this
    const { lambda, quantile, ema, augment, views, confidence } = this.options
    const change = augment ?? ((x: Tensor) => x)
    return scope(() => {
      const sure = noGrad(() => source.call(inputs).softmax().max(1).mean().item())
      const averaged = sure < confidence
      const target = noGrad(() => {
        if (!averaged) return teacher.call(inputs)
        let sum = teacher.call(change(inputs))
        for (let i = 1; i < views; i++) sum = sum.add(teacher.call(change(inputs)))
        return sum.mul(1 / views)
      })
      const plain = student.call(inputs)
      const loss = symmetricCrossEntropy(plain, target)
        .add(symmetricCrossEntropy(student.call(change(inputs)), target))
        .mul(0.5)
      loss.backward()
      const parameters = student.parameters()
      const anchors = source.parameters()
      let penalty = 0
      parameters.forEach((x, i) => {
        if (!fisher || lambda === 0) return
        // The slope of λF(θ − θ_source)², added to the gradient.
        const away = noGrad(() => x.sub(anchors[i] as Tensor))
        const pull = away.mul(fisher.values[i] as Tensor).mul(lambda)
        penalty += pull.mul(away).sum().item()
        if (x.grad) binaryInto('add', x.grad, pull.mul(2), x.grad)
      })
      const squares = new DiagonalFisher(parameters)
      squares.update(parameters.map((x) => x.grad as Tensor))
      const restored = squares.belowQuantile(quantile)
      this.#optimizer.step()
      this.#optimizer.zeroGrad()
      noGrad(() => {
        teacher.parameters().forEach((mean, i) => {
          const x = parameters[i] as Tensor
          const chosen = (restored[i] as Mask).toTensor()
          x.copy_(where(chosen, anchors[i] as Tensor, x.detach()))
          if (ema === 1) return
          const moved = mean.mul(ema).add(x.mul(1 - ema))
          mean.copy_(where(chosen, x.detach(), moved))
        })
      })
      const logits = target.add(plain.detach())
      return { logits, loss: loss.item() + penalty, averaged, restored }
    })
  }
}
