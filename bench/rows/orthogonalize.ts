/** Newton–Schulz, five steps of Keller's coefficients. */

import { randn, scope, type Tensor } from '../../lib/index.js'
import { orthogonalize } from '../../lib/linalg/index.js'
import { type Row, type RowMaker, relativeError } from './row.js'

/** The plain formula in float64. */
function exact(x: Tensor): Tensor {
  if ((x.shape[0] as number) > (x.shape[1] as number)) return exact(x.T).T
  let y = x.to('float64')
  y = y.div(y.norm())
  for (let i = 0; i < 5; i++) {
    const a = y.matmul(y.T)
    y = y.mul(3.4445).add(a.mul(-4.775).add(a.matmul(a).mul(2.0315)).matmul(y))
  }
  return y
}

/** FLOPs of the direct form with halved symmetric products; the Gram form needs fewer, so that the fraction may pass 1. */
export const newtonSchulzWork = (rows: number, cols: number): number => {
  const [m, n] = [Math.min(rows, cols), Math.max(rows, cols)]
  return 5 * (3 * m * m * n + m ** 3)
}

function row(kind: 'f32' | 'bf16', rows: number, cols: number): Row {
  const x = randn([rows, cols])
  const compute = kind === 'f32' ? 'float32' : 'bfloat16'
  return {
    name: `orthogonalize ${kind} ${rows}x${cols}`,
    work: newtonSchulzWork(rows, cols),
    limit: kind,
    run: () => scope(() => void orthogonalize(x, { compute })),
    error: () => scope(() => relativeError(orthogonalize(x, { compute }), exact(x))),
  }
}

const sizes = [
  [512, 512],
  [768, 768],
  [768, 3072],
  [1024, 1024],
  [1024, 4096],
  [4096, 1024],
] as const

export const rows: RowMaker[] = sizes.flatMap(([m, n]): RowMaker[] =>
  (['f32', 'bf16'] as const).map((kind) => [
    `orthogonalize ${kind} ${m}x${n}`,
    () => row(kind, m, n),
  ]),
)
