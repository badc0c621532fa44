/** A small vision transformer. */

import { addOnto, cat, expand, mean, permute, reshape, select } from '../../autograd/ops/index.js'
import { usedUp } from '../../autograd/tape.js'
import {
  checkChoice,
  checkInteger,
  checkNumber,
  requireOptions,
  wrong,
} from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { checkGenerator } from '../../random/index.js'
import { zeros } from '../../tensor/create.js'
import { toTensor } from '../../tensor/interop.js'
import { shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { TransformerBlock, type TransformerBlockOptions } from '../attention.js'
import { normal } from '../init.js'
import { Dropout, Linear } from '../layers.js'
import { Module, parameter } from '../module.js'
import { LayerNorm, RMSNorm } from '../norm.js'
import { discreetly, pass, through } from '../passing.js'

/** Options of VisionTransformer. */
export interface VisionTransformerOptions
  extends Omit<TransformerBlockOptions, 'causal' | 'preNorm'> {
  /** Height and width of the images. */
  imageSize: number
  /** Height and width of a patch; must divide the image's. */
  patchSize: number
  /** Of the images; 3 by default. */
  channels?: number
  classes: number
  layers: number
  heads: number
  width: number
  /** 'class' (default) reads a class token that is prepended, 'mean' averages the patches. */
  pool?: 'class' | 'mean'
}

/**
 * ViT (Dosovitskiy et al. 2021): linear patch embeddings with learned positions, pre-norm blocks, a
 * final norm and a linear head over the class token or the patches' mean.
 */
export class VisionTransformer extends Module {
  readonly patches: Linear
  readonly classToken: Tensor | null
  readonly positions: Tensor
  readonly dropout: Dropout | null
  readonly blocks: readonly TransformerBlock[]
  readonly norm: LayerNorm | RMSNorm
  readonly head: Linear

  constructor(readonly options: VisionTransformerOptions) {
    super()
    const {
      imageSize,
      patchSize,
      classes,
      layers,
      heads,
      width,
      generator,
      dropout = 0,
    } = requireOptions(options)
    for (const [name, value] of Object.entries({ imageSize, classes, layers, width })) {
      checkInteger(value, name, 1)
    }
    checkInteger(options.channels ?? 3, 'channels', 1)
    checkNumber(dropout, 'dropout', 0, 1)
    checkGenerator(generator)
    const side = imageSize / checkInteger(patchSize, 'patchSize', 1)
    if (!Number.isInteger(side) || side < 1) {
      wrong('patchSize', `a divisor of imageSize ${imageSize}`, patchSize)
    }
    const pool = checkChoice(options.pool ?? 'class', 'pool', ['class', 'mean'])
    const drawn = generator ? { generator } : {}
    const pixels = (options.channels ?? 3) * patchSize ** 2
    this.patches = new Linear(pixels, width, drawn)
    this.classToken = pool === 'class' ? parameter(zeros([1, 1, width])) : null
    const count = side ** 2 + (pool === 'class' ? 1 : 0)
    this.positions = parameter(normal(Tensor.empty([1, count, width]), 0, 0.02, generator))
    this.dropout = dropout > 0 ? new Dropout(dropout, drawn) : null
    this.blocks = Array.from({ length: layers }, () => new TransformerBlock(width, heads, options))
    const eps = options.eps === undefined ? {} : { eps: options.eps }
    this.norm = options.norm === 'rms' ? new RMSNorm(width, eps) : new LayerNorm(width, { ...eps })
    this.head = new Linear(width, classes, drawn)
  }

  /** Images [n, channels, h, w] as [n, patches, channels·patch²]. */
  #cut(input: Tensor): Tensor {
    const x = toTensor(input, 'x')
    const { imageSize, patchSize: p, channels = 3 } = this.options
    const side = imageSize / p
    if (
      x.rank !== 4 ||
      x.shape[1] !== channels ||
      x.shape[2] !== imageSize ||
      x.shape[3] !== imageSize
    ) {
      throw new ShapeError(
        `'x' has shape ${shownShape(x.shape)}, expected [n, ${channels}, ${imageSize}, ${imageSize}]`,
      )
    }
    const n = x.shape[0] as number
    const grid = permute(reshape(x, [n, channels, side, p, side, p]), [0, 2, 4, 1, 3, 5])
    return reshape(grid, [n, side * side, channels * p * p])
  }

  /**
   * What the head reads, [n, width].
   *
   * @param x [n, channels, imageSize, imageSize]
   */
  features(x: Tensor): Tensor {
    let y = through(this.patches, this.#cut(x))
    if (this.classToken) {
      const shape = [y.shape[0] as number, 1, y.shape[2] as number]
      const patches = y
      y = cat([expand(this.classToken, shape), patches], 1)
      usedUp(patches, y)
    }
    y = addOnto(this.positions, y)
    if (this.dropout) y = through(this.dropout, y)
    for (const block of this.blocks) y = through(block, y)
    y = through(this.norm, y)
    const read = this.classToken ? select(y, 1, 0) : mean(y, 1)
    usedUp(y, read)
    return read
  }

  /** Logits [n, classes]. */
  forward(x: Tensor): Tensor {
    return pass(this.head, this.features(x))
  }
}

discreetly(VisionTransformer)
