/** Attention and the transformer block. */

import {
  addOnto,
  linear,
  logicalAnd,
  logicalNot,
  packedAttention,
  permute,
  reshape,
  scaledDotProductAttention,
  slice,
} from '../autograd/ops/index.js'
import { usedUp } from '../autograd/tape.js'
import { checkChoice, checkInteger, checkNumber, checkOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { checkGenerator, type Generator } from '../random/index.js'
import { zeros } from '../tensor/create.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { xavierUniform } from './init.js'
import { Dropout, GELU, Linear, ReLU, SiLU } from './layers.js'
import { Module, parameter } from './module.js'
import { LayerNorm, RMSNorm } from './norm.js'
import { discreetly, pass, through } from './passing.js'

/** What one call of attention may be told. */
export interface AttentionCall {
  /** Position i sees positions 0 … i only. */
  causal?: boolean
  /** Bool or uint8 [batch, keys]: true where a key is padding, seen by nobody (as in PyTorch). */
  keyPaddingMask?: ArrayLike | null
  /** Bool or uint8, broadcast to [batch, heads, queries, keys]: true where a query sees a key. */
  mask?: ArrayLike | null
  /** Keys and values come from here instead, [batch, keys, width]: cross-attention. */
  context?: Tensor | null
}

/** Options of MultiHeadAttention. */
export interface MultiHeadAttentionOptions {
  /** Whether the projections have biases; true by default. */
  bias?: boolean
  /** The default of every call's `causal`; false. */
  causal?: boolean
  generator?: Generator
}

/**
 * Multi-head attention (Vaswani et al. 2017) of [batch, time, width], with PyTorch's parameters:
 * `inProjWeight` [3·width, width] and `inProjBias` for queries, keys and values side by side, and the
 * layer `outProj`. Scores are never whole in memory.
 */
export class MultiHeadAttention extends Module {
  readonly inProjWeight: Tensor
  readonly inProjBias: Tensor | null
  readonly outProj: Linear
  readonly #causal: boolean

  /**
   * @param width of the input and output
   * @param heads must divide the width
   */
  constructor(
    readonly width: number,
    readonly heads: number,
    options: MultiHeadAttentionOptions = {},
  ) {
    super()
    const { bias = true, causal = false, generator } = checkOptions(options)
    checkInteger(width, 'width', 1)
    checkInteger(heads, 'heads', 1)
    checkGenerator(generator)
    if (width % heads !== 0) wrong('heads', `a divisor of the width ${width}`, heads)
    this.inProjWeight = parameter(xavierUniform(Tensor.empty([3 * width, width]), 1, generator))
    this.inProjBias = bias ? parameter(zeros([3 * width])) : null
    this.outProj = new Linear(width, width, { bias, ...(generator ? { generator } : {}) })
    if (this.outProj.bias) this.outProj.bias.array.fill(0)
    this.#causal = causal
  }

  override call(x: Tensor, options: AttentionCall = {}): Tensor {
    return super.call(x, options)
  }

  forward(input: Tensor, options: AttentionCall = {}): Tensor {
    const x = toTensor(input, 'x')
    checkOptions(options)
    if (x.rank !== 3 || x.shape[2] !== this.width) {
      throw new ShapeError(
        `'x' has shape ${shownShape(x.shape)}, expected [batch, time, ${this.width}]`,
      )
    }
    const causal = options.causal ?? this.#causal
    const context = options.context ?? null
    const mask = this.#mask(options, (context ?? x).shape)
    if (!context) {
      const packed = linear(x, this.inProjWeight, this.inProjBias)
      const seen = packedAttention(packed, this.heads, { causal, mask })
      usedUp(packed, seen)
      return through(this.outProj, seen)
    }
    const { width, heads } = this
    const project = (from: Tensor, begin: number, end: number) =>
      linear(
        from,
        slice(this.inProjWeight, 0, begin, end),
        this.inProjBias && slice(this.inProjBias, 0, begin, end),
      )
    const apart = (t: Tensor) =>
      permute(
        reshape(t, [t.shape[0] as number, t.shape[1] as number, heads, width / heads]),
        [0, 2, 1, 3],
      )
    const q = apart(project(x, 0, width))
    const both = project(context, width, 3 * width)
    const [k, v] = [apart(slice(both, 2, 0, width)), apart(slice(both, 2, width))]
    const y = scaledDotProductAttention(q, k, v, { causal, mask })
    return pass(this.outProj, reshape(permute(y, [0, 2, 1, 3]), x.shape))
  }

  #mask({ keyPaddingMask, mask }: AttentionCall, keys: readonly number[]): Tensor | null {
    const seen = mask ? toTensor(mask, 'mask') : null
    if (!keyPaddingMask) return seen
    const padding = toTensor(keyPaddingMask, 'keyPaddingMask')
    if (!sameShape(padding.shape, keys.slice(0, 2))) {
      throw new ShapeError(
        `'keyPaddingMask' has shape ${shownShape(padding.shape)}, expected ${shownShape(keys.slice(0, 2))}`,
      )
    }
    const real = reshape(logicalNot(padding), [keys[0] as number, 1, 1, keys[1] as number])
    return seen ? logicalAnd(seen, real) : real
  }
}

/** Options of TransformerBlock. */
export interface TransformerBlockOptions extends MultiHeadAttentionOptions {
  /** The hidden width of the MLP over the width; 4 by default. */
  mlpRatio?: number
  /** 'gelu' by default. */
  activation?: 'gelu' | 'gelu-tanh' | 'relu' | 'silu'
  /** 'layer' (default) or 'rms'. */
  norm?: 'layer' | 'rms'
  /** True (default): x + f(norm(x)); false: norm(x + f(x)), as in the original transformer. */
  preNorm?: boolean
  /** Of the branches' outputs while training; 0 by default. */
  dropout?: number
  /** Of the norms. */
  eps?: number
}

const activations = {
  gelu: () => new GELU(),
  'gelu-tanh': () => new GELU({ approximate: 'tanh' }),
  relu: () => new ReLU(),
  silu: () => new SiLU(),
}

/** Attention and an MLP, each with a norm and a residual connection, over [batch, time, width]. */
export class TransformerBlock extends Module {
  readonly norm1: LayerNorm | RMSNorm
  readonly attention: MultiHeadAttention
  readonly norm2: LayerNorm | RMSNorm
  readonly mlp1: Linear
  readonly activation: Module
  readonly mlp2: Linear
  readonly dropout: Dropout | null
  readonly #preNorm: boolean

  constructor(
    readonly width: number,
    heads: number,
    options: TransformerBlockOptions = {},
  ) {
    super()
    const {
      mlpRatio = 4,
      activation = 'gelu',
      norm = 'layer',
      dropout = 0,
      generator,
    } = checkOptions(options)
    checkChoice(activation, 'activation', Object.keys(activations) as (keyof typeof activations)[])
    checkChoice(norm, 'norm', ['layer', 'rms'])
    checkInteger(width, 'width', 1)
    checkNumber(mlpRatio, 'mlpRatio')
    checkNumber(dropout, 'dropout', 0, 1)
    checkGenerator(generator)
    const hidden = checkInteger(Math.round(width * mlpRatio), 'width · mlpRatio', 1)
    const eps = options.eps === undefined ? {} : { eps: options.eps }
    const bias = options.bias ?? true
    const makeNorm = () =>
      norm === 'layer' ? new LayerNorm(width, { bias, ...eps }) : new RMSNorm(width, eps)
    const drawn = generator ? { generator } : {}
    this.norm1 = makeNorm()
    this.attention = new MultiHeadAttention(width, heads, options)
    this.norm2 = makeNorm()
    this.mlp1 = new Linear(width, hidden, { bias, ...drawn })
    this.activation = activations[activation]()
    this.mlp2 = new Linear(hidden, width, { bias, ...drawn })
    this.dropout = dropout > 0 ? new Dropout(dropout, drawn) : null
    this.#preNorm = options.preNorm ?? true
  }

  override call(x: Tensor, options: AttentionCall = {}): Tensor {
    return super.call(x, options)
  }

  forward(x: Tensor, options: AttentionCall = {}): Tensor {
    const drop = (t: Tensor, kept: Tensor) => (this.dropout ? through(this.dropout, t, kept) : t)
    const attend = (t: Tensor) => drop(through(this.attention, t, x, options), x)
    const think = (t: Tensor, kept: Tensor) => {
      const hidden = through(this.activation, through(this.mlp1, t, kept), kept)
      return drop(through(this.mlp2, hidden, kept), kept)
    }
    if (this.#preNorm) {
      const y = addOnto(x, attend(pass(this.norm1, x)))
      const z = addOnto(y, think(pass(this.norm2, y), y))
      usedUp(y, z)
      return z
    }
    const y = through(this.norm1, addOnto(x, attend(x)))
    const z = addOnto(y, think(y, y))
    usedUp(y, z)
    return through(this.norm2, z)
  }
}

discreetly(MultiHeadAttention, TransformerBlock)
