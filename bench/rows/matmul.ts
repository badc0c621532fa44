/** Matrix products. Floor: 2mnk FLOPs. In a name, "nt" and "tn" say which factor is given transposed. */

import { randn, scope } from '../../lib/index.js'
import { matmul } from '../../lib/linalg/index.js'
import { type Row, type RowMaker, relativeError } from './row.js'

const dtypes = { f32: 'float32', bf16: 'bfloat16', f64: 'float64' } as const
type Kind = keyof typeof dtypes
type Form = 'nn' | 'nt' | 'tn'

const nameOf = (kind: Kind, m: number, k: number, n: number, form: Form) =>
  `matmul ${kind} ${m}x${k}x${n}${form === 'nn' ? '' : ` ${form}`}`

function row(kind: Kind, m: number, k: number, n: number, form: Form): Row {
  const dtype = dtypes[kind]
  const a = form === 'tn' ? randn([k, m], { dtype }).T : randn([m, k], { dtype })
  const b = form === 'nt' ? randn([n, k], { dtype }).T : randn([k, n], { dtype })
  return {
    name: nameOf(kind, m, k, n, form),
    work: 2 * m * k * n,
    limit: kind,
    run: () => scope(() => void matmul(a, b)),
    error: () => scope(() => relativeError(matmul(a, b), matmul(a.to('float64'), b.to('float64')))),
  }
}

type Size = readonly [m: number, k: number, n: number]
const squares = [128, 256, 512, 1024, 2048, 4096].map((n): Size => [n, n, n])
// Layers of small networks: forward, and a narrow last layer.
const skinny: Size[] = [
  [128, 784, 512],
  [64, 1024, 1024],
  [128, 512, 10],
]
const make = (kinds: readonly Kind[], sizes: readonly Size[], form: Form = 'nn'): RowMaker[] =>
  sizes.flatMap(([m, k, n]) =>
    kinds.map((kind): RowMaker => [nameOf(kind, m, k, n, form), () => row(kind, m, k, n, form)]),
  )

export const rows: RowMaker[] = [
  ...make(['f32', 'bf16'], squares),
  ...make(['f32', 'bf16'], skinny),
  ...make(['f32', 'bf16'], [[1024, 1024, 1024]], 'nt'),
  ...make(['f32', 'bf16'], [[1024, 1024, 1024]], 'tn'),
  ...make(['f64'], [[1024, 1024, 1024]]),
]
