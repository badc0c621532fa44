/** Layers. Names, shapes, defaults and initial values are PyTorch's. */

import {
  type Conv2dOptions,
  type Pair,
  pair,
  poolWindow,
  type WindowOptions,
} from '../autograd/ops/conv.js'
import * as ops from '../autograd/ops/index.js'
import type { Compute } from '../autograd/ops/products.js'
import { usedUp } from '../autograd/tape.js'
import {
  checkChoice,
  checkFinite,
  checkInteger,
  checkNumber,
  checkOptions,
  wrong,
} from '../engine/check.js'
import { checkGenerator, type Generator } from '../random/index.js'
import { checkFloating, toTensor } from '../tensor/interop.js'
import { Tensor } from '../tensor/tensor.js'
import { fans, kaimingUniform, uniform } from './init.js'
import { Module, parameter } from './module.js'
import { discreetly, isDiscreet, pass } from './passing.js'

/** Options of layers with weights. */
export interface WeightOptions {
  /** Whether there is a bias; true by default. */
  bias?: boolean
  /** Draws the initial values. */
  generator?: Generator
}

/** A weight and bias as PyTorch's layers begin: uniform in ±1/√fanIn. */
function initialised(shape: number[], options: WeightOptions, outputs = shape[0] as number) {
  const { bias = true, generator } = checkOptions(options)
  checkGenerator(generator)
  const weight = parameter(kaimingUniform(Tensor.empty(shape), Math.sqrt(5), generator))
  const bound = 1 / Math.sqrt(fans(weight)[0])
  const vector = Tensor.empty([outputs])
  return { weight, bias: bias ? parameter(uniform(vector, -bound, bound, generator)) : null }
}

/** Activations whose slope their output tells. */
const fusable = ['none', 'relu', 'tanh', 'sigmoid'] as const

/** y = activation(x·Wᵀ + b), W [out, in]. */
export class Linear extends Module {
  readonly weight: Tensor
  readonly bias: Tensor | null
  /** What the product ends with. */
  readonly activation: 'none' | 'relu' | 'tanh' | 'sigmoid'
  readonly #compute: Compute

  /**
   * @param inFeatures width of the input
   * @param outFeatures width of the output
   * @param options `activation` is fused into the product; `compute` its precision
   */
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: WeightOptions & {
      activation?: 'none' | 'relu' | 'tanh' | 'sigmoid'
      compute?: Compute
    } = {},
  ) {
    super()
    checkInteger(inFeatures, 'inFeatures', 1)
    checkInteger(outFeatures, 'outFeatures', 1)
    const { weight, bias } = initialised([outFeatures, inFeatures], options)
    this.weight = weight
    this.bias = bias
    this.activation = checkChoice(options.activation ?? 'none', 'activation', fusable)
    this.#compute = checkChoice(options.compute ?? 'float32', 'compute', ['float32', 'bfloat16'])
  }

  forward(x: Tensor): Tensor {
    return this.ending(x, this.activation)
  }

  /** forward() with another activation. For the package's own use (Sequential). */
  ending(x: Tensor, activation: Linear['activation']): Tensor {
    return ops.linear(x, this.weight, this.bias, activation, this.#compute)
  }
}

/** Convolution of [n, in, h, w]; weight [out, in/groups, kh, kw]. */
export class Conv2d extends Module {
  readonly weight: Tensor
  readonly bias: Tensor | null
  /** What the convolution ends with. */
  readonly activation: 'none' | 'relu'
  readonly #options: Conv2dOptions

  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: Pair,
    options: WeightOptions & Conv2dOptions = {},
  ) {
    super()
    checkInteger(inChannels, 'inChannels', 1)
    checkInteger(outChannels, 'outChannels', 1)
    const {
      groups = 1,
      stride = 1,
      padding = 0,
      dilation = 1,
      activation = 'none',
    } = checkOptions(options)
    this.activation = checkChoice(activation, 'activation', ['none', 'relu'])
    checkInteger(groups, 'groups', 1)
    pair(stride, 'stride', 1)
    pair(padding, 'padding', 0)
    pair(dilation, 'dilation', 1)
    const shape = [outChannels, inChannels / groups, ...pair(kernelSize, 'kernelSize', 1)]
    checkInteger(shape[1], 'inChannels / groups', 1)
    const { weight, bias } = initialised(shape, options)
    this.weight = weight
    this.bias = bias
    this.#options = options
  }

  forward(x: Tensor): Tensor {
    return ops.conv2d(x, this.weight, this.bias, this.#options)
  }

  /** forward() with another activation. For the package's own use (Sequential). */
  ending(x: Tensor, activation: Conv2d['activation']): Tensor {
    return ops.conv2d(x, this.weight, this.bias, { ...this.#options, activation })
  }
}

/** Transposed convolution of [n, in, h, w]; weight [in, out/groups, kh, kw]. */
export class ConvTranspose2d extends Module {
  readonly weight: Tensor
  readonly bias: Tensor | null
  readonly #options: ops.ConvTranspose2dOptions

  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: Pair,
    options: WeightOptions & ops.ConvTranspose2dOptions = {},
  ) {
    super()
    checkInteger(inChannels, 'inChannels', 1)
    checkInteger(outChannels, 'outChannels', 1)
    const { groups = 1, stride = 1, padding = 0, dilation = 1 } = checkOptions(options)
    checkInteger(groups, 'groups', 1)
    pair(stride, 'stride', 1)
    pair(padding, 'padding', 0)
    pair(dilation, 'dilation', 1)
    checkInteger(inChannels / groups, 'inChannels / groups', 1)
    pair(options.outputPadding ?? 0, 'outputPadding', 0)
    const perGroup = checkInteger(outChannels / groups, 'outChannels / groups', 1)
    const shape = [inChannels, perGroup, ...pair(kernelSize, 'kernelSize', 1)]
    const { weight, bias } = initialised(shape, options, outChannels)
    this.weight = weight
    this.bias = bias
    this.#options = options
  }

  forward(x: Tensor): Tensor {
    return ops.convTranspose2d(x, this.weight, this.bias, this.#options)
  }
}

/** A layer over windows of one size. */
abstract class Pool2d extends Module {
  constructor(
    readonly kernelSize: Pair,
    protected readonly options: Omit<WindowOptions, 'dilation'> = {},
  ) {
    super()
    poolWindow(kernelSize, options, 'kernelSize')
  }
}

/** The largest of each window; stride is the kernel by default. */
export class MaxPool2d extends Pool2d {
  forward(x: Tensor): Tensor {
    return ops.maxPool2d(x, this.kernelSize, this.options)
  }
}

/** The mean of each window; stride is the kernel by default. */
export class AvgPool2d extends Pool2d {
  forward(x: Tensor): Tensor {
    return ops.avgPool2d(x, this.kernelSize, this.options)
  }
}

/** One axis where all but the first (the batch) were. */
export class Flatten extends Module {
  forward(x: Tensor): Tensor {
    return ops.flatten(x, 1)
  }
}

/** Zeroes entries with probability p while training, and scales the others by 1/(1 − p). */
export class Dropout extends Module {
  readonly #generator: Generator

  constructor(
    readonly p = 0.5,
    options: { generator?: Generator } = {},
  ) {
    super()
    const { generator } = checkOptions(options)
    checkNumber(p, 'p', 0, 1)
    this.#generator = checkGenerator(generator)
  }

  forward(x: Tensor): Tensor {
    if (!this.training || this.p === 0) return x
    return ops.dropout(checkFloating(toTensor(x, 'x'), 'x'), this.p, this.#generator)
  }
}

/** An activation as a layer. */
function activation(name: string, fn: (x: Tensor) => Tensor) {
  return {
    [name]: class extends Module {
      forward(x: Tensor): Tensor {
        return fn(x)
      }
    },
  }[name] as new () => Module
}

export const ReLU = activation('ReLU', ops.relu)
export const SiLU = activation('SiLU', ops.silu)
export const Tanh = activation('Tanh', ops.tanh)
export const Sigmoid = activation('Sigmoid', ops.sigmoid)

/** x·Φ(x) (Hendrycks & Gimpel 2016), or with `approximate: 'tanh'` the form that GPT-2 uses. */
export class GELU extends Module {
  readonly #approximate: 'none' | 'tanh'

  constructor(options: { approximate?: 'none' | 'tanh' } = {}) {
    super()
    const { approximate = 'none' } = checkOptions(options)
    this.#approximate = checkChoice(approximate, 'approximate', ['none', 'tanh'])
  }

  forward(x: Tensor): Tensor {
    return this.#approximate === 'tanh' ? ops.geluTanh(x) : ops.gelu(x)
  }
}

/** sin(ω·x), the activation of SIREN (Sitzmann et al. 2020); ω is 30 by default. */
export class Sine extends Module {
  constructor(readonly omega = 30) {
    super()
    checkFinite(omega, 'omega')
  }

  forward(x: Tensor): Tensor {
    const phases = ops.mul(x, this.omega)
    const y = ops.sin(phases)
    usedUp(phases, y)
    return y
  }
}

/**
 * A layer of SIREN (Sitzmann et al. 2020): sin(ω·(W·x + b)). Weights are uniform in ±√(6/in)/ω, in the
 * network's first layer (`first`) in ±1/in; the bias is as in Linear.
 */
export class SineLinear extends Module {
  readonly weight: Tensor
  readonly bias: Tensor | null
  readonly omega: number

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    given: WeightOptions & { omega?: number; first?: boolean } = {},
  ) {
    super()
    const { omega = 30, first = false, ...options } = checkOptions(given)
    checkInteger(inFeatures, 'inFeatures', 1)
    checkInteger(outFeatures, 'outFeatures', 1)
    this.omega = checkNumber(omega, 'omega', Number.MIN_VALUE, Number.MAX_VALUE)
    const { weight, bias } = initialised([outFeatures, inFeatures], options)
    const bound = first ? 1 / inFeatures : Math.sqrt(6 / inFeatures) / omega
    this.weight = uniform(weight, -bound, bound, options.generator)
    this.bias = bias
  }

  forward(x: Tensor): Tensor {
    const sums = ops.linear(x, this.weight, this.bias)
    const phases = ops.mul(sums, this.omega)
    const y = ops.sin(phases)
    usedUp(sums, phases)
    usedUp(phases, y)
    return y
  }
}

/**
 * Modules one after the other. A ReLU that follows a Linear or a Conv2d is fused into it, unless somebody
 * looks at what is between them (hooks). Outputs between the package's own layers live no longer than the
 * tape needs them.
 */
export class Sequential extends Module {
  readonly layers: readonly Module[]

  constructor(...layers: Module[]) {
    super()
    for (const [i, layer] of layers.entries()) {
      if (!(layer instanceof Module)) wrong(`layers[${i}]`, 'a Module', layer)
    }
    this.layers = layers
  }

  /** Names are positions, as in PyTorch: '0.weight'. */
  override *namedChildren(): IterableIterator<[string, Module]> {
    for (const [i, layer] of this.layers.entries()) yield [`${i}`, layer]
  }

  forward(x: Tensor): Tensor {
    let y = x
    for (let i = 0; i < this.layers.length; i++) {
      const layer = this.layers[i] as Module
      let next: Tensor
      if (endsInRelu(layer, this.layers[i + 1])) {
        next = layer.ending(y, 'relu')
        i++
      } else next = pass(layer, y)
      if (y !== x) usedUp(y, next)
      y = next
    }
    return y
  }
}

/** Whether one product may do for a layer and the one after it. */
const endsInRelu = (layer: Module, next: Module | undefined): layer is Linear | Conv2d =>
  next?.constructor === ReLU &&
  (layer instanceof Linear || layer instanceof Conv2d) &&
  layer.activation === 'none' &&
  isDiscreet(layer) &&
  isDiscreet(next)

discreetly(Linear, Conv2d, ConvTranspose2d, MaxPool2d, AvgPool2d, Flatten, Dropout)
discreetly(ReLU, SiLU, Tanh, Sigmoid, GELU, Sine, SineLinear, Sequential)
