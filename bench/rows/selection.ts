/** Exact selection. Floor: one read of the scores, and a bit written an entry. */

import { Generator, Tensor } from '../../lib/index.js'
import { nm, topK } from '../../lib/masks/index.js'
import type { Row, RowMaker } from './row.js'

const scores = (n: number, seed = 1) => new Generator(seed).fill(Tensor.empty([n]), 'normal', 0, 1)

function select(n: number, density: number): Row {
  const x = scores(n)
  return {
    name: `topk mask ${n} ${density}`,
    work: 4 * n,
    limit: 'read',
    run: () => topK(x, { density, by: 'magnitude' }).dispose(),
    close: () => x.dispose(),
  }
}

/** 64 tensors as one. */
function selectGlobal(n: number, density: number): Row {
  const list = Array.from({ length: 64 }, (_, i) => scores(n / 64, i))
  return {
    name: `topk global ${n} ${density}`,
    work: 4 * n,
    limit: 'read',
    run: () => {
      for (const mask of topK(list, { density, by: 'magnitude', scope: 'global' })) mask.dispose()
    },
  }
}

function twoOfFour(n: number): Row {
  const x = scores(n)
  return {
    name: `2:4 mask ${n}`,
    work: 4 * n,
    limit: 'read',
    run: () => nm(x, 2, 4, -1, { by: 'magnitude' }).dispose(),
  }
}

export const rows: RowMaker[] = [
  ['topk mask 1000000 0.1', () => select(1_000_000, 0.1)],
  ['topk mask 16000000 0.1', () => select(16_000_000, 0.1)],
  ['topk mask 100000000 0.1', () => select(100_000_000, 0.1)],
  ['topk global 16000000 0.1', () => selectGlobal(16_000_000, 0.1)],
  ['2:4 mask 16000000', () => twoOfFour(16_000_000)],
]
