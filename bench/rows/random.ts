/** Random fills. Floor: the bytes written (permutation: those of its random access are not counted). */

import { Generator, Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import type { Row, RowMaker } from './row.js'

function filling(kind: 'uniform' | 'normal' | 'integers', n: number): Row {
  const g = new Generator(1)
  const x = Tensor.empty([n], kind === 'integers' ? 'int32' : 'float32')
  const b = kind === 'integers' ? 1000 : 1
  return {
    name: `${kind} ${n}`,
    work: 4 * n,
    limit: 'write',
    run: () => void g.fill(x, kind, 0, b),
  }
}

function permutation(n: number): Row {
  const g = new Generator(1)
  return {
    name: `permutation ${n}`,
    work: 4 * n,
    limit: 'write',
    run: () => void g.permutation(n),
  }
}

function dropout(n: number): Row {
  const layer = new nn.Dropout(0.5, { generator: new Generator(1) })
  const x = new Generator(2).fill(Tensor.empty([n]), 'normal', 0, 1)
  return { name: `dropout ${n}`, work: 8 * n, limit: 'copy', run: () => layer.call(x).dispose() }
}

export const rows: RowMaker[] = [
  ['uniform 16000000', () => filling('uniform', 16_000_000)],
  ['normal 16000000', () => filling('normal', 16_000_000)],
  ['integers 16000000', () => filling('integers', 16_000_000)],
  ['permutation 1000000', () => permutation(1_000_000)],
  ['dropout 1000000', () => dropout(1_000_000)],
  ['dropout 16000000', () => dropout(16_000_000)],
]
