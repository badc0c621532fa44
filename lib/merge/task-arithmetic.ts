/** Task arithmetic (Ilharco et al., arXiv 2212.04089): base + λ Σ (model − base). */

import { checkNumber, checkOptions } from '../engine/check.js'
import { binaryInto } from '../tensor/elementwise.js'
import type { MergeMethod } from './stream.js'

/** Options of taskArithmetic. */
export interface TaskArithmeticOptions {
  /** λ; 0.3 by default, the paper's choice for eight tasks. */
  scale?: number
}

/** Adds the sum of all task vectors, scaled, to the base. */
export function taskArithmetic(options: TaskArithmeticOptions = {}): MergeMethod {
  const { scale = 0.3 } = checkOptions(options)
  checkNumber(scale, 'scale', -100, 100)
  return {
    name: 'task-arithmetic',
    needsBase: true,
    piece(piece) {
      // base·(1 − λn) + λ Σ model: one pass for each.
      const sum = piece.base().mul(1 - scale * piece.count)
      for (let i = 0; i < piece.count; i++) {
        const x = piece.model(i)
        binaryInto('mul', x, scale, x)
        binaryInto('add', sum, x, sum)
        x.dispose()
      }
      return sum
    },
  }
}
