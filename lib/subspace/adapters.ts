/**
 * Low-rank adapters on named layers of any module: W + (alpha / rank)·B·A takes the place of a weight
 * W (Linear: [out, in]; Conv2d: [out, in, kh, kw] seen as [out, in·kh·kw]). What A and B begin with is
 * the method's own: one file each (lora.ts, pissa.ts).
 */

import {
  checkFinite,
  checkFunction,
  checkInstance,
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
  wrong,
} from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { Conv2d, Linear, Module, parameter } from '../nn/index.js'
import { noGrad, scope, type Tensor } from '../tensor/index.js'
import { checkFloating, checkTensor } from '../tensor/interop.js'
import { sameShape } from '../tensor/shape.js'

/** Which layers: names or their last parts ('fc1', 'attention.query'), a pattern, or a function. */
export type Targets =
  | readonly string[]
  | RegExp
  | ((name: string, layer: AdaptableLayer) => boolean)

/** Options of every adapter. */
export interface AdapterOptions {
  /** Inner width r; 8 by default, as in peft. */
  rank?: number
  /** B·A is multiplied by alpha / rank; `rank` by default, so that the factor is 1. */
  alpha?: number
  /** All Linear layers by default. */
  targets?: Targets
  /** Whether all of the model's own parameters stop requiring gradients; true by default. */
  freeze?: boolean
}

/** Layers that take an adapter. */
export type AdaptableLayer = Linear | Conv2d

/** What a method begins with, for a weight seen as [out, in]. */
export interface Start {
  /** [rank, in]. */
  a: Tensor
  /** [out, rank]. */
  b: Tensor
  /** What W becomes, so that W + scale·B·A is what it was; W stays where missing. */
  base?: Tensor
}

/** A method: makes the start for one weight [out, in]. */
export type Initialise = (
  weight: Tensor,
  context: { name: string; rank: number; scale: number },
) => Start

/** One layer's adapter; a child module of its layer, so that names and checkpoints include it. */
export class Adapter extends Module {
  /** [rank, in], trained. */
  readonly loraA: Tensor
  /** [out, rank], trained. */
  readonly loraB: Tensor
  merged = false
  active = true

  constructor(
    a: Tensor,
    b: Tensor,
    readonly scale: number,
    /** The values at the start, for conversion to an adapter of the original weight. */
    readonly start: { a: Tensor; b: Tensor } | null,
  ) {
    super()
    for (const [name, x] of Object.entries({ a, b })) {
      checkFloating(checkTensor(x, name), name)
      if (x.rank !== 2) wrong(name, 'a matrix', x.shape)
    }
    checkFinite(scale, 'scale')
    this.loraA = parameter(a)
    this.loraB = parameter(b)
  }

  /** scale·B·A in the shape of the layer's weight; differentiable. */
  delta(shape: readonly number[]): Tensor {
    return this.loraB
      .matmul(this.loraA)
      .mul(this.scale)
      .reshape(...shape)
  }

  /** scale·(x·Aᵀ)·Bᵀ, for Linear: never as large as the weight. */
  forward(x: Tensor): Tensor {
    return x.matmul(this.loraA.T).matmul(this.loraB.T).mul(this.scale)
  }
}

/** A layer with its adapter. */
export interface Adapted {
  name: string
  layer: AdaptableLayer
  adapter: Adapter
}

function matches(name: string, layer: AdaptableLayer, targets: Targets | undefined): boolean {
  if (targets === undefined) return layer instanceof Linear
  if (typeof targets === 'function') return targets(name, layer)
  if (targets instanceof RegExp) return targets.test(name)
  return targets.some((target) => name === target || name.endsWith(`.${target}`))
}

/** Layers of a model that an adapter can be put on, by name. */
export function adaptable(model: Module, targets?: Targets): [string, AdaptableLayer][] {
  checkInstance(model, Module, 'model')
  const known = targets instanceof RegExp || typeof targets === 'function' || Array.isArray(targets)
  if (targets !== undefined && !known) {
    wrong('targets', 'names, a regular expression or a function', targets)
  }
  const found: [string, AdaptableLayer][] = []
  for (const [name, layer] of model.namedModules()) {
    const fits = layer instanceof Linear || layer instanceof Conv2d
    if (fits && matches(name, layer, targets)) found.push([name, layer])
  }
  if (found.length === 0) wrong('targets', 'names of Linear or Conv2d layers', targets)
  return found
}

/** The weight as a matrix [out, in]. */
export const asMatrix = ({ weight }: AdaptableLayer): Tensor =>
  weight.detach().reshape(weight.shape[0] as number, -1)

function install(layer: AdaptableLayer, adapter: Adapter): void {
  const inner = layer.forward
  const own = Object.hasOwn(layer, 'forward')
  // A fused activation stands between the product and what could be added to it, and a convolution's
  // delta is small: there the weight itself is replaced while forward() reads it.
  const direct = layer instanceof Linear && layer.activation === 'none'
  const forward = (x: Tensor): Tensor => {
    if (adapter.merged || !adapter.active) return inner.call(layer, x)
    if (direct) return inner.call(layer, x).add(adapter.forward(x))
    const slot = layer as { weight: Tensor }
    const { weight } = slot
    slot.weight = weight.add(adapter.delta(weight.shape))
    try {
      return inner.call(layer, x)
    } finally {
      slot.weight = weight
    }
  }
  Object.defineProperty(layer, 'forward', { value: forward, configurable: true, writable: true })
  Object.defineProperty(layer, 'adapter', {
    value: adapter,
    configurable: true,
    enumerable: true,
    writable: true,
  })
  uninstallers.set(adapter, () => {
    adapter.active = false
    delete (layer as { adapter?: Adapter }).adapter
    // Whoever put another forward() over ours keeps it; ours then passes through.
    if (layer.forward !== forward) return
    if (own) {
      Object.defineProperty(layer, 'forward', { value: inner, configurable: true, writable: true })
    } else {
      delete (layer as { forward?: unknown }).forward
    }
  })
}

const uninstallers = new WeakMap<Adapter, () => void>()

/** The adapters of one model. */
export class Adapters {
  constructor(
    readonly model: Module,
    /** 'lora', 'pissa', 'pissa_niter_4' …: what peft calls init_lora_weights. */
    readonly method: string,
    readonly rank: number,
    readonly alpha: number,
    readonly layers: readonly Adapted[],
    private readonly frozen: readonly Tensor[],
  ) {}

  /** A and B of every layer: what an optimizer gets. */
  parameters(): Tensor[] {
    return this.layers.flatMap(({ adapter }) => [adapter.loraA, adapter.loraB])
  }

  /** Adds every delta to its weight: forward() then costs what it did without adapters. */
  merge(): void {
    this.#move(false)
  }

  /** Takes merged deltas out again; the weights come back to rounding. */
  unmerge(): void {
    this.#move(true)
  }

  #move(merged: boolean): void {
    for (const { layer, adapter } of this.layers) {
      if (adapter.merged !== merged) continue
      noGrad(() =>
        scope(() => {
          const delta = adapter.delta(layer.weight.shape)
          layer.weight.copy_(merged ? layer.weight.sub(delta) : layer.weight.add(delta))
        }),
      )
      adapter.merged = !merged
    }
  }

  /**
   * Takes the adapters off, and gives the model's parameters their gradients back. Merged deltas stay
   * in the weights; where a method changed them (PiSSA's residual) without a merge, they stay changed.
   */
  detach(): void {
    for (const { adapter } of this.layers) uninstallers.get(adapter)?.()
    for (const x of this.frozen) x.requireGrad()
  }
}

/**
 * Puts adapters on a model's layers.
 *
 * @param method its name in files
 * @param initialise what A, B and the weight begin with
 * @throws ArgumentError where no layer fits, a layer has an adapter already, or rank is more than a
 *   weight's shorter side
 */
export function attach(
  model: Module,
  method: string,
  options: AdapterOptions,
  initialise: Initialise,
): Adapters {
  const { rank = 8, alpha = rank, targets, freeze = true } = checkOptions(options)
  if (typeof method !== 'string') wrong('method', 'a name', method)
  checkFunction(initialise, 'initialise')
  checkInteger(rank, 'rank', 1)
  checkNumber(alpha, 'alpha', Number.MIN_VALUE, 1e9)
  const layers = adaptable(model, targets)
  const scale = alpha / rank
  for (const [name, layer] of layers) {
    if ('adapter' in layer) throw new ArgumentError(`layer '${name}' has an adapter already`)
    const shape = asMatrix(layer).shape as [number, number]
    if (rank > Math.min(...shape)) {
      throw new ArgumentError(
        `expected at most ${Math.min(...shape)} for 'rank' at layer '${name}' of ${shape.join('×')} but got ${rank}`,
      )
    }
    if (layer instanceof Conv2d && layer.weight.shape[1] !== layer.inChannels) {
      throw new ArgumentError(`layer '${name}' is a convolution in groups, which takes no adapter`)
    }
  }
  // All starts are known before the first layer changes.
  const starts = layers.map(([name, layer]) =>
    noGrad(() => initialise(asMatrix(layer), { name, rank, scale })),
  )
  for (const [i, [name, layer]] of layers.entries()) {
    const [out, width] = asMatrix(layer).shape
    const { a, b } = requireOptions(starts[i] as Start, 'initialise()')
    if (!sameShape(checkTensor(a, 'initialise().a').shape, [rank, width as number])) {
      wrong(`initialise().a of layer '${name}'`, `the shape [${rank}, ${width}]`, a.shape)
    }
    if (!sameShape(checkTensor(b, 'initialise().b').shape, [out as number, rank])) {
      wrong(`initialise().b of layer '${name}'`, `the shape [${out}, ${rank}]`, b.shape)
    }
  }
  const frozen = freeze ? model.parameters().filter((x) => x.requiresGrad) : []
  for (const x of frozen) x.requireGrad(false)
  const adapted = layers.map(([name, layer], i): Adapted => {
    const { a, b, base } = starts[i] as Start
    if (base) noGrad(() => layer.weight.copy_(base.reshape(...layer.weight.shape)))
    base?.dispose()
    const start = base ? { a: a.clone().detach().keep(), b: b.clone().detach().keep() } : null
    const adapter = new Adapter(a, b, scale, start)
    install(layer, adapter)
    return { name, layer, adapter }
  })
  return new Adapters(model, method, rank, alpha, adapted, frozen)
}
