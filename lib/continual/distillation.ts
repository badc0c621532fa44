/** What the methods that hold outputs share: the model of the last task's end, and distances to it. */

import { checkInstance, checkInteger, checkIntegers, checkNumber, wrong } from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { klDiv } from '../nn/losses.js'
import { Module } from '../nn/module.js'
import { noGrad, Tensor } from '../tensor/index.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Context, columnsOf } from './context.js'
import type { Columns } from './scenario.js'
import type { StateValue } from './state.js'
import type { Strategy } from './strategy.js'

/** A copy of the model as it was, which is asked and never trained. */
export class Teacher {
  #model: Module | null = null

  get model(): Module | null {
    return this.#model
  }

  /** Becomes what the model is now. */
  renew(c: Context): void {
    checkInstance(c, Context, 'c')
    this.#model ??= c.newModel().eval()
    this.#model.loadStateDict(c.model.stateDict())
  }

  /** Its outputs, without gradients; null before the first task's end. */
  ask(inputs: Tensor): Tensor | null {
    const model = this.#model
    return model && noGrad(() => model.call(inputs))
  }

  state(): StateValue {
    return this.#model?.stateDict() ?? null
  }

  loadState(state: StateValue, c: Context): void {
    if (state === null) return
    this.#model ??= c.newModel().eval()
    this.#model.loadStateDict(state as Record<string, Tensor>)
  }
}

/** A strategy that asks the model of the last task's end, and keeps nothing else. */
export abstract class Distillation implements Strategy {
  abstract readonly name: string
  protected readonly teacher = new Teacher()

  afterExperience(c: Context): void {
    this.teacher.renew(c)
  }

  state(): StateValue {
    return this.teacher.state()
  }

  loadState(state: StateValue, c: Context): void {
    this.teacher.loadState(state, c)
  }
}

/**
 * Σ over heads of T²·KL(softmax(old/T) ‖ softmax(new/T)), the mean over rows (Hinton et al.,
 * arXiv 1503.02531; T² keeps the slope's size).
 *
 * @param logits [n, outputs]
 * @param old outputs of the teacher, of the same shape
 */
export function distillation(
  given: ArrayLike,
  before: ArrayLike,
  heads: readonly Columns[],
  temperature: number,
): Tensor {
  const logits = toTensor(given, 'logits')
  const old = toTensor(before, 'old')
  if (logits.rank !== 2) wrong('logits', 'a matrix', logits)
  if (!sameShape(old.shape, logits.shape)) {
    throw new ShapeError(
      `'old' has shape ${shownShape(old.shape)}, expected ${shownShape(logits.shape)}`,
    )
  }
  if (!Array.isArray(heads) || heads.length === 0) wrong('heads', 'at least one head', heads)
  for (const [i, head] of heads.entries()) checkIntegers(head, `heads[${i}]`, 2)
  checkNumber(temperature, 'temperature', Number.MIN_VALUE, Number.MAX_VALUE)
  const soft = (x: Tensor, head: Columns) => columnsOf(x, head).div(temperature).logSoftmax()
  const terms = heads.map((head) => klDiv(soft(logits, head), soft(old, head)))
  return terms.reduce((sum, term) => sum.add(term)).mul(temperature ** 2)
}

/** The model's last layer, by convention the last module with a weight of `outputs` rows. */
export function lastLayer(model: Module, outputs: number): Module {
  checkInstance(model, Module, 'model')
  checkInteger(outputs, 'outputs', 1)
  const layers = [...model.namedModules()].filter(([, module]) => {
    const { weight } = module as { weight?: unknown }
    return weight instanceof Tensor && weight.shape[0] === outputs
  })
  const last = layers.at(-1)
  if (!last) throw new ArgumentError(`'model' has no last layer of ${outputs} 'outputs'`)
  return last[1]
}

/** How to read what a layer was given last, and how to stop watching. */
export interface Watch {
  read: () => Tensor
  stop: () => void
}

/** Watches a layer's input: the features that it classifies. */
export function watchInput(layer: Module): Watch {
  checkInstance(layer, Module, 'layer')
  let seen: Tensor | null = null
  const stop = layer.registerForwardHook((_, input) => {
    seen = input
    return undefined
  })
  return {
    read: () => {
      if (!seen) throw new ArgumentError('the last layer was not called: there are no features')
      return seen
    },
    stop,
  }
}
