/**
 * PiSSA's start for every linear layer of a 125M-parameter transformer (GPT-2 small's 12 × {4 × 768²,
 * 3072×768, 768×3072}), rank 16, 4 iterations. Floor: the matrices read once a product, ten times.
 */

import { randn, scope } from '../../lib/index.js'
import { pissaStart } from '../../lib/subspace/index.js'
import type { Row, RowMaker } from './row.js'

function pissa(layers: number): Row {
  const shapes: [number, number][] = [
    ...Array.from({ length: 4 }, (): [number, number] => [768, 768]),
    [3072, 768],
    [768, 3072],
  ]
  const weights = Array.from({ length: layers }, () => shapes)
    .flat()
    .map((shape) => randn(shape).mul(0.02))
  return {
    name: `pissa init ${layers}`,
    work: weights.reduce((sum, w) => sum + 10 * 4 * w.size, 0),
    limit: 'read',
    run: () => {
      for (const w of weights) scope(() => void pissaStart(w, { rank: 16, scale: 1, niter: 4 }))
    },
  }
}

export const rows: RowMaker[] = [1, 12].map(
  (layers): RowMaker => [`pissa init ${layers}`, () => pissa(layers)],
)
