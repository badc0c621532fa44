/** Dense decompositions. Floor: the FLOPs of the textbook algorithms (Golub & Van Loan). */

import { eye, randn, scope, type Tensor } from '../../lib/index.js'
import { cholesky, eigh, qr, solve, svd } from '../../lib/linalg/index.js'
import { type Row, type RowMaker, relativeError } from './row.js'

type Kind = 'f32' | 'f64'
const dtypeOf = { f32: 'float32', f64: 'float64' } as const

interface Work {
  flops: (n: number) => number
  input: (n: number, kind: Kind) => Tensor
  run: (a: Tensor) => unknown
  /** What the factors give back, and what it should be. */
  rebuild: (a: Tensor) => [Tensor, Tensor]
}

const plain = (n: number, kind: Kind) => randn([n, n], { dtype: dtypeOf[kind] })
const definite = (n: number, kind: Kind) =>
  scope(() => {
    const x = plain(n, kind)
    return x.matmul(x.T).add(eye(n, { dtype: dtypeOf[kind] }))
  })

const works: Record<string, Work> = {
  qr: {
    flops: (n) => (8 / 3) * n ** 3,
    input: plain,
    run: qr,
    rebuild: (a) => {
      const { q, r } = qr(a)
      return [q.matmul(r), a]
    },
  },
  cholesky: {
    flops: (n) => n ** 3 / 3,
    input: definite,
    run: cholesky,
    rebuild: (a) => {
      const l = cholesky(a)
      return [l.matmul(l.T), a]
    },
  },
  solve: {
    flops: (n) => (2 / 3) * n ** 3 + 2 * n * n,
    input: plain,
    run: (a) => solve(a, a.slice(1, 0, 1)),
    rebuild: (a) => {
      const b = a.slice(1, 0, 1)
      return [a.matmul(solve(a, b)), b]
    },
  },
  eigh: {
    flops: (n) => (16 / 3) * n ** 3,
    input: definite,
    run: eigh,
    rebuild: (a) => {
      const { values, vectors } = eigh(a)
      return [vectors.mul(values).matmul(vectors.T), a]
    },
  },
  svd: {
    flops: (n) => (32 / 3) * n ** 3,
    input: plain,
    run: svd,
    rebuild: (a) => {
      const { u, s, vt } = svd(a)
      return [u.mul(s).matmul(vt), a]
    },
  },
}

function row(name: string, kind: Kind, n: number): Row {
  const work = works[name] as Work
  const a = work.input(n, kind)
  return {
    name: `${name} ${kind} ${n}`,
    work: work.flops(n),
    limit: kind,
    run: () => scope(() => void work.run(a)),
    error: () => scope(() => relativeError(...work.rebuild(a))),
  }
}

export const rows: RowMaker[] = Object.keys(works).flatMap((name) =>
  (['f32', 'f64'] as const).flatMap((kind) =>
    [256, 1024, 2048].map((n): RowMaker => [`${name} ${kind} ${n}`, () => row(name, kind, n)]),
  ),
)
