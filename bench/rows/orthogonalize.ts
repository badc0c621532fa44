/** Newton–Schulz, five steps of Keller's coefficients. */

import { eye, randn, scope, type Tensor, tensor } from '../../lib/index.js'
import { orthogonalize, polarExpressSchedule, type Quintic } from '../../lib/linalg/index.js'
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

/** Singular values falling from 1 to 1e-4, or as a random matrix has them. */
function matrix(rows: number, cols: number, spectrum: Spectrum): Tensor {
  if (spectrum === 'random') return randn([rows, cols])
  const inner = Math.min(rows, cols)
  const decay = tensor(
    Float32Array.from({ length: inner }, (_, i) => 10 ** ((-4 * i) / (inner - 1))),
  )
  return randn([rows, inner])
    .mul(decay)
    .matmul(randn([inner, cols]))
}

type Kind = 'f32' | 'bf16'
type Spectrum = 'random' | 'decaying'
const computeOf = { f32: 'float32', bf16: 'bfloat16' } as const
const nameOf = (kind: Kind, rows: number, cols: number, spectrum: Spectrum) =>
  `orthogonalize ${kind} ${rows}x${cols}${spectrum === 'random' ? '' : ` ${spectrum}`}`

function row(kind: Kind, rows: number, cols: number, spectrum: Spectrum): Row {
  const x = matrix(rows, cols, spectrum)
  const compute = computeOf[kind]
  return {
    name: nameOf(kind, rows, cols, spectrum),
    work: newtonSchulzWork(rows, cols),
    limit: kind,
    run: () => scope(() => void orthogonalize(x, { compute })),
    error: () => scope(() => relativeError(orthogonalize(x, { compute }), exact(x))),
  }
}

/** ‖UUᵀ − I‖ / √m over the short side. */
function deviation(u: Tensor): number {
  const [m, n] = u.shape as [number, number]
  const wide = (m <= n ? u : u.T).to('float64')
  return (
    wide
      .matmul(wide.T)
      .sub(eye(Math.min(m, n), { dtype: 'float64' }))
      .norm()
      .item() / Math.sqrt(Math.min(m, n))
  )
}

/** Smallest singular values that a schedule may be made for, as parts of what X is divided by. */
const lowest = Array.from({ length: 16 }, (_, i) => 0.05 * 1.15 ** i)

/**
 * As near to orthogonal as five steps of Keller's schedule come in float64, in as few steps of Polar
 * Express as that takes after the norm by Gelfand's formula; the peer runs the five steps on a matrix of
 * the same kind. The schedule is that for the lower bound that fits this matrix best, found beforehand: what a user
 * knows of matrices of one kind. The error is ours over theirs.
 */
function orthogonality(rows: number, cols: number): Row {
  const x = randn([rows, cols])
  const goal = scope(() => deviation(exact(x)))
  const run = (coefficients: Quintic[]) =>
    orthogonalize(x, { coefficients, normalization: 'gelfand' })
  const reached = (coefficients: Quintic[]) => scope(() => deviation(run(coefficients)))
  let best: Quintic[] = []
  let error = Infinity
  for (let steps = 1; steps < 8 && error > goal; steps++) {
    for (const lower of lowest) {
      const schedule = polarExpressSchedule(steps, { lower })
      const own = reached(schedule)
      if (own < error) [best, error] = [schedule, own]
    }
  }
  return {
    name: `orthogonality ${rows}x${cols}`,
    work: (newtonSchulzWork(rows, cols) * best.length) / 5,
    limit: 'bf16',
    run: () => scope(() => void run(best)),
    error: () => error / goal,
  }
}

type Size = readonly [rows: number, cols: number]
const sizes: Size[] = [
  [512, 512],
  [768, 768],
  [768, 3072],
  [1024, 1024],
  [1024, 4096],
  [4096, 1024],
  [2048, 2048],
]
const make = (list: readonly Size[], spectrum: Spectrum): RowMaker[] =>
  list.flatMap(([m, n]) =>
    (['f32', 'bf16'] as const).map(
      (kind): RowMaker => [nameOf(kind, m, n, spectrum), () => row(kind, m, n, spectrum)],
    ),
  )

export const rows: RowMaker[] = [
  ...make(sizes, 'random'),
  ...make(
    [
      [512, 512],
      [768, 3072],
    ],
    'decaying',
  ),
  ...(
    [
      [768, 768],
      [1024, 1024],
      [768, 3072],
    ] as const
  ).map(([m, n]): RowMaker => [`orthogonality ${m}x${n}`, () => orthogonality(m, n)]),
]
