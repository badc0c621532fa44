/** Weight averaging (Wortsman et al., "Model soups", arXiv 2203.05482: the uniform soup). */

import { binaryInto } from '../tensor/elementwise.js'
import type { MergeMethod } from './stream.js'

/** The mean of all checkpoints; needs no base. */
export const average = (): MergeMethod => ({
  name: 'average',
  needsBase: false,
  piece(piece) {
    const sum = piece.model(0).clone()
    for (let i = 1; i < piece.count; i++) {
      const x = piece.model(i)
      binaryInto('add', sum, x, sum)
      x.dispose()
    }
    return binaryInto('mul', sum, 1 / piece.count, sum)
  },
})
