/** Normalisation layers; names, defaults and initial values are PyTorch's. */

import { addOnto, batchNorm, layerNorm, mul, reshape, rmsNorm } from '../autograd/ops/index.js'
import { copyInto } from '../autograd/ops/memory.js'
import { noGrad, usedUp } from '../autograd/tape.js'
import { checkInteger, checkNumber, checkOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { ones, zeros } from '../tensor/create.js'
import { toTensor } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { checkShape, type Shape, shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import { buffer, Module, parameter } from './module.js'
import { discreetly } from './passing.js'

const shapeOf = (shape: number | Shape): number[] =>
  checkShape(typeof shape === 'number' ? [shape] : shape, 'normalizedShape')

/** Layer norm over the last axes (Ba et al. 2016): (x − mean)/√(variance + eps)·weight + bias. */
export class LayerNorm extends Module {
  readonly weight: Tensor | null
  readonly bias: Tensor | null
  readonly #shape: Shape
  readonly #eps: number

  /**
   * @param normalizedShape the last axes' extents
   * @param options `eps` 1e-5; `affine` false leaves weight and bias out, `bias` false the bias
   */
  constructor(
    normalizedShape: number | Shape,
    options: { eps?: number; affine?: boolean; bias?: boolean } = {},
  ) {
    super()
    const { eps = 1e-5, affine = true, bias = true } = checkOptions(options)
    this.#shape = shapeOf(normalizedShape)
    this.#eps = checkNumber(eps, 'eps', 0)
    this.weight = affine ? parameter(ones(this.#shape)) : null
    this.bias = affine && bias ? parameter(zeros(this.#shape)) : null
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, { shape: this.#shape, eps: this.#eps })
  }
}

/** RMS norm over the last axes (Zhang & Sennrich 2019): x/√(mean(x²) + eps)·weight. */
export class RMSNorm extends Module {
  readonly weight: Tensor | null
  readonly #shape: Shape
  readonly #eps: number | undefined

  /**
   * @param normalizedShape the last axes' extents
   * @param options `eps`: the dtype's machine epsilon by default; `affine` false leaves the weight out
   */
  constructor(normalizedShape: number | Shape, options: { eps?: number; affine?: boolean } = {}) {
    super()
    const { eps, affine = true } = checkOptions(options)
    this.#shape = shapeOf(normalizedShape)
    this.#eps = eps === undefined ? undefined : checkNumber(eps, 'eps', 0)
    this.weight = affine ? parameter(ones(this.#shape)) : null
  }

  forward(x: Tensor): Tensor {
    const eps = this.#eps === undefined ? {} : { eps: this.#eps }
    return rmsNorm(x, this.weight, { shape: this.#shape, ...eps })
  }
}

/**
 * Group norm (Wu & He 2018) of [n, channels, …]: the statistics go over groups of adjacent channels
 * and all positions. One group is layer norm, as many as channels instance norm.
 */
export class GroupNorm extends Module {
  readonly weight: Tensor | null
  readonly bias: Tensor | null
  readonly #eps: number

  constructor(
    readonly groups: number,
    readonly channels: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    super()
    const { eps = 1e-5, affine = true } = checkOptions(options)
    checkInteger(groups, 'groups', 1)
    checkInteger(channels, 'channels', 1)
    if (channels % groups !== 0) wrong('groups', `a divisor of ${channels} channels`, groups)
    this.#eps = checkNumber(eps, 'eps', 0)
    this.weight = affine ? parameter(ones([channels])) : null
    this.bias = affine ? parameter(zeros([channels])) : null
  }

  forward(input: Tensor): Tensor {
    const x = toTensor(input, 'x')
    if (x.rank < 2 || x.shape[1] !== this.channels) {
      throw new ShapeError(
        `'x' has shape ${shownShape(x.shape)}, expected [n, ${this.channels}, …]`,
      )
    }
    const n = x.shape[0] as number
    const rows = reshape(x, [n * this.groups, x.size / Math.max(n * this.groups, 1)])
    const normal = layerNorm(rows, null, null, { eps: this.#eps })
    const y = reshape(normal, x.shape)
    usedUp(rows, normal)
    usedUp(normal, y)
    if (!this.weight || !this.bias) return y
    const wide = [this.channels, ...x.shape.slice(2).map(() => 1)]
    const scaled = mul(y, reshape(this.weight, wide))
    usedUp(y, scaled)
    return addOnto(reshape(this.bias, wide), scaled)
  }
}

/** Options of BatchNorm. */
export interface BatchNormOptions {
  /** Added to the variance; 1e-5 by default. */
  eps?: number
  /** How far a batch moves the running statistics, 0.1 by default; null averages over all batches. */
  momentum?: number | null
  /** Whether there are a weight and a bias; true by default. */
  affine?: boolean
  /** Whether running statistics are kept; without them the batch's are always used. */
  trackRunningStats?: boolean
}

/**
 * Batch norm (Ioffe & Szegedy 2015) of [n, channels, …]: of vectors, sequences and images alike.
 * While training it uses the batch's statistics and moves the running ones; in evaluation it uses
 * the running ones. `statistics` chooses independently of the mode, which is what test-time adaptation
 * does; `runningMean` and `runningVariance` may be read and overwritten.
 */
export class BatchNorm extends Module {
  readonly weight: Tensor | null
  readonly bias: Tensor | null
  /** [channels], or null where none are kept. */
  readonly runningMean: Tensor | null
  /** Unbiased, [channels]. */
  readonly runningVariance: Tensor | null
  /** Batches that moved the running statistics. */
  readonly numBatchesTracked: Tensor | null
  /** 'auto' (default): the batch's while training; or always 'batch', or always 'running'. */
  statistics: 'auto' | 'batch' | 'running' = 'auto'
  /** How far a batch moves the running statistics; null averages over all batches. */
  momentum: number | null
  readonly eps: number

  constructor(
    readonly channels: number,
    options: BatchNormOptions = {},
  ) {
    super()
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats = true,
    } = checkOptions(options)
    checkInteger(channels, 'channels', 1)
    this.eps = checkNumber(eps, 'eps', 0)
    this.momentum = momentum === null ? null : checkNumber(momentum, 'momentum', 0, 1)
    this.weight = affine ? parameter(ones([channels])) : null
    this.bias = affine ? parameter(zeros([channels])) : null
    this.runningMean = trackRunningStats ? buffer(zeros([channels])) : null
    this.runningVariance = trackRunningStats ? buffer(ones([channels])) : null
    this.numBatchesTracked = trackRunningStats ? buffer(zeros([], { dtype: 'int32' })) : null
  }

  forward(input: Tensor): Tensor {
    const x = toTensor(input, 'x')
    if (x.rank < 2 || x.shape[1] !== this.channels) {
      throw new ShapeError(
        `'x' has shape ${shownShape(x.shape)}, expected [n, ${this.channels}, …]`,
      )
    }
    const { runningMean: mean, runningVariance: variance, weight, bias, eps } = this
    const running = this.statistics === 'running' || (this.statistics === 'auto' && !this.training)
    if (running && mean && variance) return batchNorm(x, weight, bias, { mean, variance }, eps).y
    const used = batchNorm(x, weight, bias, null, eps)
    if (this.training && mean && variance) this.#move(used.mean, used.variance, x)
    return used.y
  }

  /** Moves the running statistics towards a batch's. */
  #move(mean: Tensor, variance: Tensor, x: Tensor): void {
    const count = x.size / this.channels
    noGrad(() =>
      scope(() => {
        const batches = this.numBatchesTracked as Tensor
        copyInto(batches, batches.item() + 1)
        const rate = this.momentum ?? 1 / batches.item()
        const towards = (state: Tensor, value: Tensor, factor: number) => {
          copyInto(state, state.mul(1 - rate).add(value.mul(rate * factor)))
        }
        towards(this.runningMean as Tensor, mean, 1)
        towards(this.runningVariance as Tensor, variance, count / (count - 1))
      }),
    )
  }
}

discreetly(LayerNorm, RMSNorm, GroupNorm, BatchNorm)
