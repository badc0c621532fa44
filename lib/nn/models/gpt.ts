/** A small GPT. */

import { addOnto, embedding, linear, reshape } from '../../autograd/ops/index.js'
import { noGrad, usedUp } from '../../autograd/tape.js'
import {
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
  wrong,
} from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { checkGenerator, type Generator } from '../../random/index.js'
import { arange } from '../../tensor/create.js'
import { toTensor } from '../../tensor/interop.js'
import { scope } from '../../tensor/scope.js'
import { shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { TransformerBlock, type TransformerBlockOptions } from '../attention.js'
import { Embedding } from '../embedding.js'
import { normal } from '../init.js'
import { Dropout } from '../layers.js'
import { Module } from '../module.js'
import { LayerNorm, RMSNorm } from '../norm.js'
import { discreetly, pass, through } from '../passing.js'

/** Options of GPT. */
export interface GPTOptions extends Omit<TransformerBlockOptions, 'causal' | 'preNorm'> {
  /** The number of different tokens. */
  vocabulary: number
  /** The longest sequence. */
  context: number
  layers: number
  heads: number
  width: number
}

/** Options of GPT.generate. */
export interface GenerateOptions {
  /** Divides the logits; 0 always takes the likeliest token. 1 by default. */
  temperature?: number
  /** Only the likeliest k tokens are drawn; all by default. */
  topK?: number
  generator?: Generator
}

/**
 * GPT-2 (Radford et al. 2019) in small: token and position embeddings, pre-norm blocks, a final norm,
 * and logits through the token embedding. Weights are normal(0, 0.02), those of residual branches'
 * outputs divided by √(2·layers), as in GPT-2.
 */
export class GPT extends Module {
  readonly tokens: Embedding
  readonly positions: Embedding
  readonly dropout: Dropout | null
  readonly blocks: readonly TransformerBlock[]
  readonly norm: LayerNorm | RMSNorm

  constructor(readonly options: GPTOptions) {
    super()
    const {
      vocabulary,
      context,
      layers,
      heads,
      width,
      generator,
      dropout = 0,
    } = requireOptions(options)
    for (const [name, value] of Object.entries({ vocabulary, context, layers, width })) {
      checkInteger(value, name, 1)
    }
    checkNumber(dropout, 'dropout', 0, 1)
    checkGenerator(generator)
    const drawn = generator ? { generator } : {}
    this.tokens = new Embedding(vocabulary, width, drawn)
    this.positions = new Embedding(context, width, drawn)
    this.dropout = dropout > 0 ? new Dropout(dropout, drawn) : null
    const block = { activation: 'gelu-tanh', ...options, causal: true } as const
    this.blocks = Array.from({ length: layers }, () => new TransformerBlock(width, heads, block))
    const eps = options.eps === undefined ? {} : { eps: options.eps }
    this.norm =
      options.norm === 'rms'
        ? new RMSNorm(width, eps)
        : new LayerNorm(width, { bias: options.bias ?? true, ...eps })
    for (const [name, p] of this.namedParameters()) {
      if (p.rank < 2) {
        if (!name.includes('norm')) p.array.fill(0)
      } else {
        const last = name.endsWith('outProj.weight') || name.endsWith('mlp2.weight')
        normal(p, 0, last ? 0.02 / Math.sqrt(2 * layers) : 0.02, generator)
      }
    }
  }

  /**
   * @param indices int32 tokens [batch, time]
   * @returns logits [batch, time, vocabulary]
   */
  forward(input: Tensor): Tensor {
    const indices = toTensor(input, 'indices')
    const [, time] = indices.shape
    if (indices.rank !== 2 || (time as number) > this.options.context) {
      throw new ShapeError(
        `'indices' has shape ${shownShape(indices.shape)}, expected [batch, time] with at most ${this.options.context} tokens`,
      )
    }
    const places = arange(time as number, undefined, 1, { dtype: 'int32' }).to(indices.device)
    const rows = embedding(places, this.positions.weight)
    let x = addOnto(rows, pass(this.tokens, indices))
    usedUp(rows, x)
    if (this.dropout) x = through(this.dropout, x)
    for (const block of this.blocks) x = through(block, x)
    x = through(this.norm, x)
    const logits = linear(x, this.tokens.weight)
    usedUp(x, logits)
    return logits
  }

  /** Draws `count` tokens after a prompt, one at a time; gives the prompt and what follows it. */
  generate(prompt: readonly number[], count: number, options: GenerateOptions = {}): number[] {
    const { temperature = 1, topK = this.options.vocabulary, generator } = checkOptions(options)
    if (!Array.isArray(prompt) || prompt.length === 0) wrong('prompt', 'at least one token', prompt)
    const { vocabulary } = this.options
    for (const token of prompt) checkInteger(token, 'prompt', 0, vocabulary - 1)
    checkInteger(count, 'count', 0)
    checkNumber(temperature, 'temperature', 0)
    checkInteger(topK, 'topK', 1)
    const draw = checkGenerator(generator)
    const tokens = [...prompt]
    for (let i = 0; i < count; i++) {
      const logits = noGrad(() =>
        scope(() => {
          const window = Int32Array.from(tokens.slice(-this.options.context))
          const input = Tensor.from({ data: window, shape: [1, window.length] })
          const y = this.call(input.to(this.positions.weight.device)).select(1, window.length - 1)
          return Float64Array.from(reshape(y, [-1]).toArray() as number[])
        }),
      )
      tokens.push(pick(logits, temperature, topK, draw))
    }
    return tokens
  }
}

/** An index drawn by softmax(logits / temperature) over the k largest. */
function pick(logits: Float64Array, temperature: number, k: number, generator: Generator): number {
  const order = Array.from(logits.keys()).sort(
    (a, b) => (logits[b] as number) - (logits[a] as number) || a - b,
  )
  const best = order[0] as number
  if (temperature === 0) return best
  const kept = order.slice(0, k)
  const top = logits[best] as number
  const weights = kept.map((i) => Math.exp(((logits[i] as number) - top) / temperature))
  let left = generator.uniform() * weights.reduce((sum, w) => sum + w, 0)
  for (const [at, weight] of weights.entries()) {
    left -= weight
    if (left < 0) return kept[at] as number
  }
  return kept.at(-1) as number
}

discreetly(GPT)
