/** Continual learning with dynamic sparse training: every task grows a subnetwork of its own. */

import { checkChoice, checkInteger, checkNumber, checkOptions } from '../../engine/check.js'
import { ArgumentError } from '../../engine/errors.js'
import { erk, uniform } from '../../masks/allocate.js'
import { Mask, random, topK } from '../../masks/index.js'
import type { Optimizer } from '../../optim/optimizer.js'
import { scope, Tensor, where } from '../../tensor/index.js'
import type { Context } from '../context.js'
import type { Experience } from '../scenario.js'
import type { StateValue } from '../state.js'
import type { Strategy } from '../strategy.js'

const allocations = ['erk', 'uniform'] as const
const growths = ['random', 'unfired', 'gradient', 'momentum'] as const

/** Options of Dst. */
export interface DstOptions {
  /** Of each task's subnetwork over all hidden weights, in (0, 1]; 0.2 by default. */
  density?: number
  /** How the density is spread over layers; 'erk' by default. */
  allocation?: (typeof allocations)[number]
  /**
   * Which connections grow: 'random' (default), 'unfired' (never active in any task; random ones when none
   * is left), those with the largest 'gradient', or 'momentum' (gradients averaged with 0.9).
   */
  growth?: (typeof growths)[number]
  /** Steps between two drops; 20 by default. */
  updateEvery?: number
  /** The part of a layer's connections that the first update drops; 0.5 by default … */
  dropFraction?: number
  /** … and that the last one does, by a cosine over the task's steps; 0.005 by default. */
  finalDropFraction?: number
}

/** A hidden weight. */
interface Layer {
  weight: Tensor
  /** All that finished tasks learned. */
  store: Float32Array
  /** What finished tasks use: it never changes again. */
  frozen: Mask
  /** What was active at any time. */
  fired: Mask
  /** The current task's connections. */
  mask: Mask
  /** For growth by momentum. */
  average: Tensor | null
  /** The connections of each finished task. */
  done: Mask[]
}

/**
 * Dynamic sparse training of a subnetwork a task (Yildirim et al., arXiv 2308.14831) for task-incremental
 * streams. A task starts with a random mask over the hidden weights (those with two axes or more but
 * the last, which is the heads); every few steps each layer drops the connections with the smallest
 * magnitudes and grows as many. Connections of earlier tasks may be used, but not changed; when a task
 * ends its own are frozen too. What is dense (biases, heads, norms) is kept a copy a task, so that an
 * earlier task's outputs do not change by one bit.
 *
 * The optimizer (SGD, AdamW or Lion) is given masks: its time and memory follow the density. Where the
 * authors' code differs: it allocates by coin flips, here counts are exact; its unused connections
 * keep their value, here a grown connection starts at 0 (as in RigL) or, if an earlier task owns it,
 * at that task's value; its biases are shared.
 */
export class Dst implements Strategy {
  readonly name = 'dst'
  readonly options: Required<DstOptions>
  #layers: Layer[] = []
  #dense: Tensor[] = []
  /** Dense parameters at the end of each finished task. */
  readonly #kept: Float32Array[][] = []
  /** What measuring an earlier task put aside. */
  #aside: Float32Array[] | null = null
  #steps = 0

  constructor(options: DstOptions = {}) {
    checkOptions(options)
    const o = {
      density: checkNumber(options.density ?? 0.2, 'density', Number.MIN_VALUE, 1),
      allocation: checkChoice(options.allocation ?? 'erk', 'allocation', allocations),
      growth: checkChoice(options.growth ?? 'random', 'growth', growths),
      updateEvery: checkInteger(options.updateEvery ?? 20, 'updateEvery', 1),
      dropFraction: checkNumber(options.dropFraction ?? 0.5, 'dropFraction', 0, 1),
      finalDropFraction: checkNumber(options.finalDropFraction ?? 0.005, 'finalDropFraction', 0, 1),
    }
    this.options = o
  }

  /** The current mask of each hidden weight. */
  get masks(): Mask[] {
    return this.#layers.map(({ mask }) => mask)
  }

  /** The masks of a finished task. */
  masksOf(task: number): Mask[] {
    return this.#layers.map(({ done }) => done[task] as Mask)
  }

  beforeTraining(c: Context): void {
    if (c.scenario.setting !== 'task') {
      throw new ArgumentError(
        `dst needs a task-incremental stream: which subnetwork answers is told by the task; the setting is '${c.scenario.setting}'`,
      )
    }
    this.#find(c)
  }

  #find(c: Context): void {
    const matrices = c.parameters.filter((x) => x.rank >= 2)
    const hidden = matrices.slice(0, -1)
    if (hidden.length === 0) throw new ArgumentError('dst needs a model with hidden weights')
    this.#dense = c.parameters.filter((x) => !hidden.includes(x))
    this.#layers = hidden.map((weight) => ({
      weight,
      store: new Float32Array(weight.size),
      frozen: new Mask(weight.shape),
      fired: new Mask(weight.shape),
      mask: new Mask(weight.shape),
      average: null,
      done: [],
    }))
  }

  beforeExperience(c: Context): void {
    this.#steps = 0
    const shapes = this.#layers.map(({ weight }) => weight.shape)
    const densities = { erk, uniform }[this.options.allocation](shapes, this.options.density)
    // New connections begin as a new network would.
    const fresh = new Map(c.newModel().namedParameters())
    for (const [i, layer] of this.#layers.entries()) {
      layer.mask = random(layer.weight.shape, densities[i] as number, c.generator)
      layer.average?.dispose()
      layer.average = null
      const name = c.names[c.parameters.indexOf(layer.weight)] as string
      layer.weight.copy_(fresh.get(name) as Tensor)
      this.#put(layer, layer.mask.and(layer.frozen), layer.store)
      layer.mask.applyInto(layer.weight)
      layer.fired = layer.fired.or(layer.mask)
    }
    this.#tell(c)
  }

  /** weight ← values where the mask is on. */
  #put({ weight }: Layer, mask: Mask, values: Float32Array): void {
    const source = Tensor.from({ data: values, shape: weight.shape })
    scope(() => weight.copy_(where(mask.toTensor(), source, weight.detach())))
  }

  /** Lets the optimizers move what is this task's own. */
  #tell(c: Context): void {
    for (const { weight, mask, frozen } of this.#layers) {
      const own = mask.andNot(frozen)
      const told = c.optimizers.some((o) => {
        const optimizer = o as unknown as Pick<Optimizer<{ lr: number }>, 'setMask'> & {
          paramGroups: { params: unknown[] }[]
        }
        const mine = optimizer.paramGroups.some(({ params }) => params.includes(weight))
        if (mine) optimizer.setMask(weight, own)
        return mine
      })
      if (!told) throw new ArgumentError('dst found no optimizer of a hidden weight')
    }
  }

  afterStep(c: Context): void {
    this.#steps++
    const { growth, updateEvery, dropFraction: from, finalDropFraction: to } = this.options
    if (growth === 'momentum') {
      for (const layer of this.#layers) {
        const grad = layer.weight.grad
        if (!grad) continue
        const next = layer.average ? layer.average.mul(0.9).add(grad.mul(0.1)) : grad.mul(0.1)
        layer.average?.dispose()
        layer.average = next.keep()
      }
    }
    const total = Math.ceil(c.trainData.labels.length / c.batchSize) * c.epochs
    if (this.#steps % updateEvery !== 0 || this.#steps >= total) return
    const fraction = to + ((from - to) / 2) * (1 + Math.cos((Math.PI * this.#steps) / total))
    for (const layer of this.#layers) scope(() => this.#rewire(layer, fraction, c))
    this.#tell(c)
  }

  #rewire(layer: Layer, fraction: number, c: Context): void {
    const { weight, mask, frozen, store } = layer
    const free = mask.not()
    const count = Math.min(Math.ceil(fraction * mask.count()), free.count())
    if (count === 0) return
    const magnitudes = where(mask.toTensor(), weight.detach().abs(), Infinity)
    const dropped = topK(magnitudes, { k: count, largest: false })
    const grown = topK(this.#scores(layer, free, c), { k: count })
    layer.mask = mask.andNot(dropped).or(grown)
    layer.fired = layer.fired.or(grown)
    layer.mask.applyInto(weight)
    // What another task owns comes with its value; the rest is 0 already.
    this.#put(layer, grown.and(frozen), store)
  }

  /** What grows first; −∞ where a connection exists. */
  #scores({ weight, fired, average }: Layer, free: Mask, c: Context): Tensor {
    const { growth } = this.options
    const grad = growth === 'momentum' ? average : growth === 'gradient' ? weight.grad : null
    let score: Tensor
    if (grad) score = grad.detach().abs()
    else {
      score = c.generator.fill(Tensor.empty(weight.shape), 'uniform', 0, 1)
      if (growth === 'unfired') score = score.add(fired.not().toTensor('float32'))
    }
    return where(free.toTensor(), score, -Infinity)
  }

  afterExperience(): void {
    for (const layer of this.#layers) {
      const own = layer.mask.andNot(layer.frozen)
      const store = Tensor.from({ data: layer.store, shape: layer.weight.shape })
      scope(() => store.copy_(where(own.toTensor(), layer.weight.detach(), store)))
      layer.frozen = layer.frozen.or(layer.mask)
      layer.done.push(layer.mask)
    }
    this.#kept.push(this.#dense.map((x) => Float32Array.from(x.data)))
  }

  beforeEvaluation(_: Context, { index }: Experience): void {
    const kept = this.#kept[index]
    if (!kept) return
    const all = [...this.#layers.map(({ weight }) => weight), ...this.#dense]
    this.#aside = all.map((x) => Float32Array.from(x.data))
    for (const layer of this.#layers) {
      ;(layer.weight.data as Float32Array).set(layer.store)
      layer.done[index]?.applyInto(layer.weight)
    }
    this.#dense.forEach((x, i) => {
      ;(x.data as Float32Array).set(kept[i] as Float32Array)
    })
  }

  afterEvaluation(): void {
    const aside = this.#aside
    if (!aside) return
    const all = [...this.#layers.map(({ weight }) => weight), ...this.#dense]
    all.forEach((x, i) => {
      ;(x.data as Float32Array).set(aside[i] as Float32Array)
    })
    this.#aside = null
  }

  state(): StateValue {
    return {
      steps: this.#steps,
      kept: this.#kept,
      layers: this.#layers.map(({ store, frozen, fired, mask, average, done }) => ({
        store,
        frozen: frozen.bits,
        fired: fired.bits,
        mask: mask.bits,
        average,
        done: done.map(({ bits }) => bits),
      })),
    } as unknown as StateValue
  }

  loadState(saved: StateValue, c: Context): void {
    const state = saved as unknown as {
      steps: number
      kept: Float32Array[][]
      layers: {
        store: Float32Array
        frozen: Uint8Array
        fired: Uint8Array
        mask: Uint8Array
        average: Tensor | null
        done: Uint8Array[]
      }[]
    }
    this.#find(c)
    this.#steps = state.steps
    this.#kept.splice(0, this.#kept.length, ...state.kept)
    state.layers.forEach((from, i) => {
      const layer = this.#layers[i] as Layer
      const mask = (bits: Uint8Array) => new Mask(layer.weight.shape, bits)
      layer.store.set(from.store)
      layer.frozen = mask(from.frozen)
      layer.fired = mask(from.fired)
      layer.mask = mask(from.mask)
      layer.average = from.average?.keep() ?? null
      layer.done = from.done.map(mask)
    })
  }
}
