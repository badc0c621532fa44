import fc from 'fast-check'
import { test } from 'tap'
import {
  AbortError,
  DTypeError,
  eye,
  NumericalError,
  ShapeError,
  setThreads,
  Tensor,
  tensor,
  threads,
  zeros,
} from '../../lib/index.js'
import {
  cholesky,
  choleskyAsync,
  eigh,
  eighAsync,
  eigvalsh,
  matrixNorm,
  pinv,
  qr,
  qrAsync,
  solve,
  solveAsync,
  solveTriangular,
  svd,
  svdAsync,
  svdvals,
} from '../../lib/linalg/index.js'
import { wave } from '../fixtures.js'
import { orthogonality } from './orthogonality.js'

type Float = 'float32' | 'float64'
const types: readonly Float[] = ['float32', 'float64']
const epsilon = { float32: 2 ** -23, float64: 2 ** -52 }

const matrix = (rows: number, cols: number, dtype: Float, seed = 1) =>
  Tensor.from({ data: Float64Array.from(wave(rows * cols, seed)), shape: [rows, cols] }).to(dtype)
const wide = (x: Tensor) => x.to('float64')
const norm = (x: Tensor) => wide(x).norm().item()

/** Everything that makes (u, s, vt) the decomposition of a, in units of ε·√k. */
function svdDefects(a: Tensor): number[] {
  const { u, s, vt } = svd(a)
  const unit = epsilon[a.dtype as Float] * Math.sqrt(s.size)
  const rebuilt = wide(u).mul(wide(s)).matmul(wide(vt))
  const values = s.data
  let order = 0
  for (let i = 0; i < values.length; i++) {
    if (
      !((values[i] as number) >= 0) ||
      (i > 0 && (values[i] as number) > (values[i - 1] as number))
    )
      order = Infinity
  }
  return [
    norm(rebuilt.sub(wide(a))) / (norm(a) || 1) / unit,
    orthogonality(u) / unit,
    orthogonality(vt.T) / unit,
    order,
  ]
}

/** The entry of largest magnitude of every column is positive. */
function signsFixed(u: Tensor): boolean {
  const columns = u.T.clone().toArray() as number[][]
  return columns.every((column) => {
    const best = column.reduce(
      (k, x, i) => (Math.abs(x) > Math.abs(column[k] as number) ? i : k),
      0,
    )
    return (column[best] as number) >= 0
  })
}

const shapes = [
  [1, 1],
  [2, 1],
  [1, 7],
  [3, 3],
  [9, 31],
  [40, 12],
  [64, 64],
  [101, 99],
  [150, 260],
] as const

test('svd: rebuilds, orthonormal, sorted, signs fixed, values alone agree', async (t) => {
  for (const dtype of types) {
    for (const [m, n] of shapes) {
      const a = matrix(m, n, dtype)
      const defects = svdDefects(a)
      t.ok(Math.max(...defects) < 30, `${dtype} ${m}×${n}: ${defects}`)
      const { u, s } = svd(a)
      t.ok(signsFixed(u))
      t.ok(norm(svdvals(a).sub(s)) < 20 * epsilon[dtype] * norm(s))
    }
  }
})

test('svd: matrices that try its deflation', async (t) => {
  const n = 130
  const diagonal = (f: (i: number) => number) => {
    const x = zeros([n, n], { dtype: 'float64' })
    for (let i = 0; i < n; i++) x.data[i * n + i] = f(i)
    return x
  }
  const turn = qr(matrix(n, n, 'float64', 3)).q
  const back = qr(matrix(n, n, 'float64', 4)).q
  const spectra: Record<string, (i: number) => number> = {
    equal: () => 3,
    'two values': (i) => (i % 2 === 0 ? 1 : 1e-3),
    'rank 5': (i) => (i < 5 ? i + 1 : 0),
    graded: (i) => 10 ** (-i / 8),
    cluster: (i) => 1 + i * 1e-14,
    tiny: (i) => 1e-150 * (i + 1),
    huge: (i) => 1e150 * (i + 1),
  }
  for (const [name, f] of Object.entries(spectra)) {
    const a = turn.matmul(diagonal(f)).matmul(back.T)
    for (const x of [a, diagonal(f)]) {
      const defects = svdDefects(x)
      t.ok(
        defects.every((d) => d < 60),
        `${name}: ${defects}`,
      )
      const expected = Array.from({ length: n }, (_, i) => f(i)).sort((p, q) => q - p)
      const s = svd(x).s.data
      const worst = Math.max(...expected.map((e, i) => Math.abs(e - (s[i] as number))))
      t.ok(worst < 1e-13 * (expected[0] as number), `${name}: ${worst}`)
    }
  }
  for (const x of [zeros([20, 20]), eye(33), zeros([5, 0]), zeros([0, 4])]) {
    if (x.size === 0) t.equal(svd(x).s.size, 0)
    else t.ok(svdDefects(x).every((d) => d < 30))
  }
})

test('eigh: rebuilds, orthonormal, ascending, values alone agree; only the lower triangle is read', async (t) => {
  for (const dtype of types) {
    for (const n of [1, 2, 3, 17, 64, 131, 260]) {
      const x = matrix(n, n, dtype)
      const a = x.add(x.T)
      const { values, vectors } = eigh(a)
      const unit = epsilon[dtype] * Math.sqrt(n)
      const rebuilt = wide(vectors).mul(wide(values)).matmul(wide(vectors).T)
      t.ok(norm(rebuilt.sub(wide(a))) < 30 * unit * norm(a), `${dtype} ${n}`)
      t.ok(orthogonality(vectors) < 30 * unit)
      t.ok(values.data.every((v, i, all) => i === 0 || v >= (all[i - 1] as number)))
      t.ok(signsFixed(vectors))
      t.ok(norm(eigvalsh(a).sub(values)) < 30 * unit * norm(a))
      const lower = a.clone()
      for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) lower.data[i * n + j] = NaN
      t.same(eigh(lower).values.data, values.data)
    }
  }
  // The second difference: 2 − 2cos(kπ/(n + 1)).
  const n = 50
  const second = zeros([n, n], { dtype: 'float64' })
  for (let i = 0; i < n; i++) {
    second.data[i * n + i] = 2
    if (i > 0) second.data[i * n + i - 1] = -1
  }
  const values = eigh(second).values.data
  for (let k = 1; k <= n; k++) {
    const exact = 2 - 2 * Math.cos((k * Math.PI) / (n + 1))
    t.ok(Math.abs((values[k - 1] as number) - exact) < 1e-14)
  }
})

test('qr: rebuilds, orthonormal, upper with non-negative diagonal', async (t) => {
  for (const dtype of types) {
    for (const [m, n] of shapes) {
      const a = matrix(m, n, dtype)
      const { q, r } = qr(a)
      const k = Math.min(m, n)
      t.same(
        [q.shape, r.shape],
        [
          [m, k],
          [k, n],
        ],
      )
      const unit = epsilon[dtype] * Math.sqrt(k)
      t.ok(norm(wide(q).matmul(wide(r)).sub(wide(a))) < 20 * unit * norm(a))
      t.ok(orthogonality(q) < 20 * unit)
      for (let i = 0; i < k; i++) {
        t.ok((r.data[i * n + i] as number) >= 0)
        for (let j = 0; j < i; j++) if (r.data[i * n + j] !== 0) t.fail('below the diagonal')
      }
    }
  }
  t.ok(orthogonality(qr(zeros([6, 4])).q) < 1e-6, 'of zero')
})

test('cholesky and solve', async (t) => {
  for (const dtype of types) {
    for (const n of [1, 2, 31, 33, 100, 257]) {
      const x = matrix(n, n, dtype)
      const a = x.matmul(x.T).add(eye(n, { dtype }))
      const l = cholesky(a)
      const unit = epsilon[dtype] * Math.sqrt(n)
      t.ok(norm(wide(l).matmul(wide(l).T).sub(wide(a))) < 10 * unit * norm(a), `${dtype} ${n}`)
      for (let i = 0; i < n; i++)
        for (let j = i + 1; j < n; j++) if (l.data[i * n + j] !== 0) t.fail('above the diagonal')
      const b = matrix(n, 3, dtype, 2)
      const y = solve(x.add(eye(n, { dtype })), b)
      const residual = norm(
        wide(x)
          .add(eye(n, { dtype: 'float64' }))
          .matmul(wide(y))
          .sub(wide(b)),
      )
      t.ok(residual < 50 * unit * norm(x) * norm(y), `solve ${dtype} ${n}: ${residual}`)
      for (const options of [{}, { transpose: true }, { upper: true }, { unitriangular: true }]) {
        const triangle = x.add(eye(n, { dtype }).mul(n))
        const z = wide(solveTriangular(triangle, b, options))
        const full = wide(triangle).clone()
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) {
            if ('upper' in options ? j < i : j > i) full.data[i * n + j] = 0
            if ('unitriangular' in options && i === j) full.data[i * n + j] = 1
          }
        }
        const back = ('transpose' in options ? full.T : full).matmul(z)
        t.ok(norm(back.sub(wide(b))) < 50 * unit * norm(full) * norm(z))
      }
    }
  }
  t.same(
    solve(
      tensor([
        [0, 2],
        [4, 0],
      ]),
      tensor([2, 8]),
    ).toArray(),
    [2, 1],
    'needs its pivots',
  )
})

test('pinv and norms', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 99 }),
      (m, n, seed) => {
        const a = matrix(m, n, 'float64', seed)
        const p = pinv(a)
        const [ap, pa] = [a.matmul(p), p.matmul(a)]
        return (
          norm(ap.matmul(a).sub(a)) < 1e-10 &&
          norm(pa.matmul(p).sub(p)) < 1e-9 * (1 + norm(p)) &&
          norm(ap.sub(ap.T)) < 1e-10 * (1 + norm(p)) &&
          norm(pa.sub(pa.T)) < 1e-10 * (1 + norm(p))
        )
      },
    ),
    { numRuns: 30 },
  )
  const deficient = tensor(
    [
      [1, 2],
      [2, 4],
    ],
    { dtype: 'float64' },
  )
  t.ok(
    norm(
      pinv(deficient).sub(
        tensor(
          [
            [0.04, 0.08],
            [0.08, 0.16],
          ],
          { dtype: 'float64' },
        ),
      ),
    ) < 1e-15,
  )
  const a = tensor(
    [
      [3, 0],
      [0, -4],
    ],
    { dtype: 'float64' },
  )
  t.ok(Math.abs(matrixNorm(a).item() - 5) < 1e-14)
  t.ok(Math.abs(matrixNorm(a, 2).item() - 4) < 1e-14)
  t.ok(Math.abs(matrixNorm(a, 'nuc').item() - 7) < 1e-14)
})

test('batches, strided input, ndarray', async (t) => {
  const parts = [1, 2, 3].map((seed) => matrix(12, 8, 'float32', seed))
  const both = Tensor.from({
    data: Float32Array.from(parts.flatMap((x) => [...x.data])),
    shape: [3, 1, 12, 8],
  })
  const all = svd(both)
  t.same(all.u.shape, [3, 1, 12, 8])
  for (const [i, x] of parts.entries()) {
    t.same(all.vt.select(0, i).select(0, 0).clone().data, svd(x).vt.data)
    t.same(qr(both).r.select(0, i).select(0, 0).clone().data, qr(x).r.data)
  }
  const x = matrix(30, 20, 'float32')
  t.same(svd(x.T.clone().T).s.data, svd(x).s.data)
  t.same(svd(x.toNdarray()).s.data, svd(x).s.data)
})

test('the same bits for any number of threads, and asynchronously', async (t) => {
  const a = matrix(120, 104, 'float32')
  const g = a.T.matmul(a).add(eye(104))
  const all = () => {
    const s = svd(a)
    const e = eigh(g)
    return [s.u, s.s, s.vt, e.values, e.vectors, qr(a).q, cholesky(g), solve(g, a.T)].map((x) =>
      x.clone().data.slice(),
    )
  }
  const before = threads()
  try {
    setThreads(1)
    const one = all()
    for (const n of [2, 3, 5]) {
      setThreads(n)
      t.same(all(), one, `${n} threads`)
    }
    t.same((await svdAsync(a)).u.data, one[0])
    t.same((await eighAsync(g)).vectors.data, one[4])
    t.same((await qrAsync(a)).q.data, one[5])
    t.same((await choleskyAsync(g)).data, one[6])
    t.same((await solveAsync(g, a.T)).data, one[7])
  } finally {
    setThreads(before)
  }
  const controller = new AbortController()
  const running = svdAsync(matrix(700, 700, 'float64'), { signal: controller.signal })
  controller.abort()
  await t.rejects(running, AbortError)
})

test('wrong input gets its typed error', async (t) => {
  const bad = tensor([
    [1, NaN],
    [2, 3],
  ])
  for (const f of [svd, qr, eigh, cholesky, pinv, svdvals]) t.throws(() => f(bad.T), NumericalError)
  t.throws(() => solve(eye(2), bad), NumericalError)
  t.throws(() => solve(zeros([3, 3]), zeros([3, 1])), NumericalError)
  t.throws(
    () =>
      cholesky(
        tensor([
          [1, 2],
          [2, 1],
        ]),
      ),
    /not positive definite \(row 1\)/,
  )
  t.throws(
    () =>
      solveTriangular(
        tensor([
          [1, 0],
          [5, 0],
        ]),
        eye(2),
      ),
    NumericalError,
  )
  for (const f of [cholesky, eigh]) t.throws(() => f(zeros([2, 3])), ShapeError)
  for (const f of [svd, qr]) t.throws(() => f(zeros([3])), ShapeError)
  t.throws(() => svd(zeros([2, 2], { dtype: 'int32' })), DTypeError)
  t.throws(() => solve(eye(2), zeros([3, 1])), ShapeError)
  t.throws(() => solve(eye(2), zeros([2, 1], { dtype: 'float64' })), DTypeError)
  // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
  t.throws(() => matrixNorm(eye(2), 'max' as any), /'fro', 2 or 'nuc'/)
})
