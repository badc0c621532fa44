/** Masks. Floor: the bytes of masks and tensors, each moved once. */

import { Generator, Tensor } from '../../lib/index.js'
import { Mask, random } from '../../lib/masks/index.js'
import type { Row, RowMaker } from './row.js'

function algebra(n: number): Row {
  const [a, b] = [random([n], 0.5, 1), random([n], 0.5, 2)]
  return { name: `mask and ${n}`, work: (3 * n) / 8, limit: 'copy', run: () => a.and(b).dispose() }
}

function count(n: number): Row {
  const bits = random([n], 0.5, 1)
  return {
    name: `mask count ${n}`,
    work: n / 8,
    limit: 'read',
    run: () => void new Mask(bits.shape, bits.bits).count(),
  }
}

function apply(n: number): Row {
  const mask = random([n], 0.1, 1)
  const x = new Generator(1).fill(Tensor.empty([n]), 'normal', 0, 1)
  return {
    name: `mask apply ${n}`,
    work: 8.125 * n,
    limit: 'copy',
    run: () => mask.apply(x).dispose(),
  }
}

export const rows: RowMaker[] = [
  ['mask and 100000000', () => algebra(100_000_000)],
  ['mask count 100000000', () => count(100_000_000)],
  ['mask apply 16000000', () => apply(16_000_000)],
]
