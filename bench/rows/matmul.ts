/** Matrix products. Floor: 2mnk FLOPs. */

import { randn, scope } from '../../lib/index.js'
import { matmul } from '../../lib/linalg/index.js'
import { type Row, type RowMaker, relativeError } from './row.js'

function row(kind: 'f32' | 'bf16', m: number, k: number, n: number): Row {
  const dtype = kind === 'f32' ? 'float32' : 'bfloat16'
  const a = randn([m, k], { dtype })
  const b = randn([k, n], { dtype })
  return {
    name: `matmul ${kind} ${m}x${k}x${n}`,
    work: 2 * m * k * n,
    limit: kind,
    run: () => scope(() => void matmul(a, b)),
    error: () => scope(() => relativeError(matmul(a, b), matmul(a.to('float64'), b.to('float64')))),
  }
}

const sizes = [
  [128, 128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [128, 784, 512],
] as const

export const rows: RowMaker[] = sizes.flatMap(([m, k, n]): RowMaker[] =>
  (['f32', 'bf16'] as const).map((kind) => [
    `matmul ${kind} ${m}x${k}x${n}`,
    () => row(kind, m, k, n),
  ]),
)
