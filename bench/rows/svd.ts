/** Randomized SVD with two power iterations. Floor: the matrix read once a product, six times. */

import { randn, scope, type Tensor } from '../../lib/index.js'
import { randomizedSvd, svd } from '../../lib/linalg/index.js'
import type { Row, RowMaker } from './row.js'

/** How far the residual of rank r lies above the best one's, relative to that. */
function excess(a: Tensor, rank: number): number {
  return scope(() => {
    const { u, s, vt } = randomizedSvd(a, rank, { powerIterations: 2 })
    const residual = a.sub(u.mul(s).matmul(vt)).norm().item()
    const values = svd(a).s.slice(0, rank)
    return residual / values.norm().item() - 1
  })
}

function row(rows: number, cols: number, rank: number): Row {
  const a = randn([rows, cols])
  return {
    name: `randomizedSvd ${rows}x${cols} ${rank}`,
    work: 6 * 4 * rows * cols,
    limit: 'read',
    run: () => scope(() => void randomizedSvd(a, rank, { powerIterations: 2 })),
    ...(rows <= 1024 ? { error: () => excess(a, rank) } : {}),
  }
}

const cases = [
  [1024, 1024, 16],
  [1024, 1024, 64],
  [4096, 1024, 16],
  [4096, 1024, 64],
  [4096, 4096, 16],
  [4096, 4096, 64],
] as const

export const rows: RowMaker[] = cases.map(
  ([m, n, r]): RowMaker => [`randomizedSvd ${m}x${n} ${r}`, () => row(m, n, r)],
)
