/** Embedding tables. */

import { embedding } from '../autograd/ops/index.js'
import { checkInteger, checkOptions } from '../engine/check.js'
import { checkGenerator, type Generator } from '../random/index.js'
import { Tensor } from '../tensor/tensor.js'
import { normal } from './init.js'
import { Module, parameter } from './module.js'
import { discreetly } from './passing.js'

/** A table of vectors: int32 numbers of any shape become [..., embeddingDim]. */
export class Embedding extends Module {
  /** [numEmbeddings, embeddingDim], standard normal at first. */
  readonly weight: Tensor
  readonly #paddingIndex: number | undefined

  /**
   * @param numEmbeddings rows
   * @param embeddingDim width
   * @param options `paddingIndex`: a row that starts as zeros and gets no gradient
   */
  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    options: { paddingIndex?: number; generator?: Generator } = {},
  ) {
    super()
    const { paddingIndex, generator } = checkOptions(options)
    checkInteger(numEmbeddings, 'numEmbeddings', 1)
    checkInteger(embeddingDim, 'embeddingDim', 1)
    checkGenerator(generator)
    const weight = normal(Tensor.empty([numEmbeddings, embeddingDim]), 0, 1, generator)
    if (paddingIndex !== undefined) {
      checkInteger(paddingIndex, 'paddingIndex', 0, numEmbeddings - 1)
      weight.array.fill(0, paddingIndex * embeddingDim, (paddingIndex + 1) * embeddingDim)
    }
    this.weight = parameter(weight)
    this.#paddingIndex = paddingIndex
  }

  forward(indices: Tensor): Tensor {
    return embedding(indices, this.weight, { paddingIndex: this.#paddingIndex })
  }
}

discreetly(Embedding)
