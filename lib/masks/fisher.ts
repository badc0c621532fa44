/** The diagonal of the Fisher information, kept as a running mean of squared gradients. */

import { type LossesOf, samplesTogetherOnce, summed } from '../autograd/per-sample.js'
import { begin, number, views } from '../engine/call.js'
import {
  checkChoice,
  checkInstance,
  checkIterable,
  checkNumber,
  checkOptions,
  wrong,
} from '../engine/check.js'
import { ArgumentError, NumericalError, ShapeError } from '../engine/errors.js'
import { native } from '../engine/native.js'
import { crossEntropy } from '../nn/losses.js'
import { Module } from '../nn/module.js'
import { checkGenerator, defaultGenerator, type Generator } from '../random/index.js'
import { zeros, zerosLike } from '../tensor/create.js'
import { binaryInto } from '../tensor/elementwise.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { allFinite } from '../tensor/reduce.js'
import { scope } from '../tensor/scope.js'
import { checkShape, type Shape, sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import type { Mask } from './mask.js'
import { type TopKOptions, topK } from './select.js'

/** Options of DiagonalFisher. */
export interface DiagonalFisherOptions {
  /**
   * F ← decay·F + (1 − decay)·g² at every update, in [0, 1); missing (default): the mean over all
   * gradients so far.
   */
  decay?: number
}

/** Options of estimate(). */
export interface EstimateOptions {
  /**
   * 'given' squares the gradients of the labels that come with the data (empirical Fisher, default);
   * 'sampled' those of labels drawn from the model: the Fisher information itself (Kunstner et al.,
   * arXiv 1905.12558).
   */
  labels?: 'given' | 'sampled'
  /**
   * True squares every example's own gradient, false (default) that of each batch's mean: as fast as a
   * backward pass, but smaller by about the batch's size.
   */
  perSample?: boolean
  /** Draws the labels; the default one where missing. */
  generator?: Generator
}

/**
 * F_i = E[(∂ log p(y|x) / ∂θ_i)²], a float32 tensor a parameter. What the gradients are of is the
 * caller's: of given labels it is the empirical Fisher, of labels sampled from the model the true one.
 */
export class DiagonalFisher {
  /** F of each parameter, in order. */
  readonly values: readonly Tensor[]
  /** Gradients seen. */
  count = 0
  readonly #decay: number | null

  /** @param like parameters, or their shapes */
  constructor(like: readonly (ArrayLike | Shape)[], options: DiagonalFisherOptions = {}) {
    const { decay } = checkOptions(options)
    if (!Array.isArray(like) || like.length === 0) wrong('like', 'a list of parameters', like)
    this.#decay =
      decay === undefined ? null : checkNumber(decay, 'decay', 0, 1 - Number.EPSILON / 2)
    this.values = like.map((x, i) => {
      const own = Array.isArray(x) ? null : toTensor(x, `like[${i}]`)
      const zero = zeros(own?.shape ?? checkShape(x, `like[${i}]`))
      return (own ? zero.to(own.device) : zero).keep()
    })
  }

  /**
   * Adds gradients.
   *
   * @param grads one a parameter: of its shape, or [n, …shape] with the gradients of n examples
   * @throws NumericalError where one holds NaN or Inf; nothing is added then
   */
  update(grads: readonly ArrayLike[]): void {
    if (!Array.isArray(grads) || grads.length !== this.values.length) {
      wrong('grads', `${this.values.length} gradients, one a parameter`, grads)
    }
    let samples = -1
    const dense = grads.map((given, i) => {
      const { shape } = this.values[i] as Tensor
      const g = toTensor(given, `grads[${i}]`).detach()
      const many = g.rank === shape.length + 1 && sameShape(g.shape.slice(1), shape)
      if (!many && !sameShape(g.shape, shape)) {
        throw new ShapeError(
          `'grads[${i}]' has shape ${shownShape(g.shape)}, expected ${shownShape(shape)} or that with the examples in front`,
        )
      }
      const n = many ? (g.shape[0] as number) : 1
      if (n === 0) wrong(`grads[${i}]`, 'at least one example', g.shape)
      if (samples >= 0 && n !== samples) {
        throw new ShapeError(`'grads' hold ${samples} examples and ${n}`)
      }
      samples = n
      return g.dtype === 'float32' && g.contiguous ? g : g.to('float32').clone()
    })
    for (const [i, g] of dense.entries()) {
      if (!allFinite(g))
        throw new NumericalError(`'grads[${i}]' holds NaN or Inf; nothing was added`)
    }
    const keep = this.#decay ?? this.count / (this.count + samples)
    this.#add(dense, keep, (1 - keep) / samples)
    this.count += samples
  }

  #add(grads: readonly Tensor[], keep: number, fresh: number): void {
    begin()
    views(this.values)
    views(grads)
    number(keep)
    number(fresh)
    native.fisher(
      this.values.map((x) => x.buffer),
      grads.map((x) => x.buffer),
    )
  }

  /** Adds sums of squares over some gradients; they are overwritten. */
  #addSquares(sums: readonly Tensor[], samples: number): void {
    for (const [i, sum] of sums.entries()) {
      if (!allFinite(sum))
        throw new NumericalError(`the gradients of parameter ${i} hold NaN or Inf`)
    }
    const keep = this.#decay ?? this.count / (this.count + samples)
    this.values.forEach((mine, i) => {
      const sum = sums[i] as Tensor
      binaryInto('mul', mine, keep, mine)
      binaryInto('add', mine, binaryInto('mul', sum, (1 - keep) / samples, sum), mine)
    })
    this.count += samples
  }

  /** The online Fisher of EWC (Schwarz et al., arXiv 1805.06370): F ← γ·F + F of the next task. */
  extend(next: DiagonalFisher, gamma: number): void {
    checkInstance(next, DiagonalFisher, 'next')
    checkNumber(gamma, 'gamma', 0, 1)
    next.values.forEach((x, i) => {
      const mine = this.values[i]
      if (!mine || !sameShape(mine.shape, x.shape)) {
        throw new ShapeError("'next' is of other parameters")
      }
    })
    this.values.forEach((mine, i) => {
      const sum = mine.mul(gamma).add(next.values[i] as Tensor)
      mine.copy_(sum)
      sum.dispose()
    })
    this.count += next.count
  }

  /** The most important entries (or with `largest: false` the least), per parameter or over all. */
  mask(options: TopKOptions): Mask[] {
    return topK(this.values, options)
  }

  /**
   * The least important part of all entries: exactly ⌊q·entries⌋ of them (with the scope 'tensor' of each
   * parameter), so that 0 takes none and 1 all.
   */
  belowQuantile(q: number, scopeOf: 'tensor' | 'global' = 'global'): Mask[] {
    checkNumber(q, 'q', 0, 1)
    checkChoice(scopeOf, 'scopeOf', ['tensor', 'global'])
    const of = (list: readonly Tensor[]) => {
      const k = Math.floor(q * list.reduce((n, x) => n + x.size, 0))
      return topK(list, { k, largest: false, scope: 'global' })
    }
    return scopeOf === 'global' ? of(this.values) : this.values.flatMap((x) => of([x]))
  }

  /**
   * Adds the gradients of cross-entropy over batches of inputs [n, …] and int32 targets [n], with the
   * model in evaluation mode. Whether a model keeps examples apart, so that many may share a pass, is found
   * out with two of them once for its modules and the inputs' shape. The parameters must be the model's, in order; their `.grad` is set to null.
   */
  estimate(
    model: Module,
    batches: Iterable<{ inputs: Tensor; targets: Tensor }>,
    options: EstimateOptions = {},
  ): this {
    const { labels = 'given', perSample = false } = checkOptions(options)
    const generator = checkGenerator(options.generator)
    checkInstance(model, Module, 'model')
    checkIterable(batches, 'batches')
    checkChoice(labels, 'labels', ['given', 'sampled'])
    const parameters = model.parameters()
    if (parameters.length !== this.values.length) {
      throw new ArgumentError(
        `'model' has ${parameters.length} parameters, this Fisher ${this.values.length}`,
      )
    }
    const { training } = model
    let together: number | null = null
    model.eval()
    try {
      for (const batch of batches) {
        scope(() => {
          const inputs = toTensor(batch?.inputs, 'batches: inputs')
          const targets = toTensor(batch?.targets, 'batches: targets')
          const sampled = (logits: Tensor) => sampleLabels(logits, generator)
          if (perSample) {
            const n = inputs.shape[0] as number
            const losses =
              (drawn: boolean): LossesOf =>
              (begin, end) => {
                const logits = model.call(inputs.slice(0, begin, end))
                const asked = drawn ? sampled(logits) : targets.slice(0, begin, end)
                return crossEntropy(logits, asked, { reduction: 'none' })
              }
            together ??= samplesTogetherOnce(
              model,
              shapeOf(model, inputs),
              parameters,
              n,
              losses(false),
            )
            const squares = summed('square', parameters, n, together, losses(labels === 'sampled'))
            this.#addSquares(squares, n)
            return
          }
          const logits = model.call(inputs)
          const asked = labels === 'given' ? targets : sampled(logits)
          crossEntropy(logits, asked).backward()
          this.update(parameters.map((x) => x.grad ?? zerosLike(x)))
          for (const x of parameters) x.grad = null
        })
      }
    } finally {
      model.train(training)
    }
    return this
  }
}

/** What decides whether a model keeps samples apart: its modules, what requires a gradient, the inputs. */
function shapeOf(model: Module, inputs: Tensor): string {
  const modules = [...model.namedModules()].map(([path, m]) => `${path}:${m.constructor.name}`)
  const trained = model.parameters().map((x) => +x.requiresGrad)
  return `${modules} ${trained} ${inputs.shape.slice(1)} ${inputs.dtype}`
}

/** A class a row, drawn from softmax(logits): the largest of logits plus Gumbel noise. */
export function sampleLabels(logits: ArrayLike, generator = defaultGenerator()): Tensor {
  checkGenerator(generator)
  const x = toTensor(logits, 'logits').detach()
  if (x.rank !== 2)
    throw new ShapeError(`'logits' has shape ${shownShape(x.shape)}, expected [n, classes]`)
  return scope(() => {
    const u = generator.fill(Tensor.empty(x.shape), 'uniform', 2 ** -25, 1)
    return x.to('float32').sub(u.log().neg().log()).argmax(1).to('int32')
  })
}
