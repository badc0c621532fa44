import { test } from 'tap'
import {
  AbortError,
  ArgumentError,
  eye,
  Generator,
  NumericalError,
  randn,
  ShapeError,
  setThreads,
  Tensor,
  tensor,
  threads,
  zeros,
} from '../../lib/index.js'
import { matrixNorm, qr, randomizedSvd, randomizedSvdAsync, svd } from '../../lib/linalg/index.js'
import { orthogonality } from './orthogonality.js'

const methods = ['power', 'block-krylov', 'single-pass'] as const
const normal = (shape: number[], seed: number) =>
  randn(shape, { dtype: 'float64', generator: new Generator(seed) })

/** A matrix with given singular values. */
function withSpectrum(m: number, n: number, values: readonly number[]): Tensor {
  const k = values.length
  const u = qr(normal([m, k], 1)).q
  const v = qr(normal([n, k], 2)).q
  return u.mul(tensor([...values], { dtype: 'float64' })).matmul(v.T)
}
const decay = (k: number, rate: number) => Array.from({ length: k }, (_, i) => rate ** i)
const product = ({ u, s, vt }: { u: Tensor; s: Tensor; vt: Tensor }) =>
  u.to('float64').mul(s.to('float64')).matmul(vt.to('float64'))

test('equals the exact decomposition where there is a gap: wide, tall, square, both types', async (t) => {
  for (const [m, n] of [
    [150, 70],
    [70, 150],
    [120, 120],
  ] as const) {
    const a = withSpectrum(m, n, [...decay(8, 0.8), ...decay(40, 0.9).map((x) => x * 1e-3)])
    const exact = svd(a)
    for (const dtype of ['float64', 'float32'] as const) {
      const tolerance = dtype === 'float64' ? 1e-10 : 2e-5
      for (const method of ['power', 'block-krylov'] as const) {
        const got = randomizedSvd(a.to(dtype), 8, { method })
        t.same([got.u.shape, got.s.shape, got.vt.shape], [[m, 8], [8], [8, n]])
        t.ok(
          got.s
            .to('float64')
            .sub(exact.s.slice(0, 0, 8))
            .norm()
            .item() < tolerance,
        )
        t.ok(
          got.u
            .to('float64')
            .sub(exact.u.slice(1, 0, 8))
            .norm()
            .item() < tolerance,
          'with signs',
        )
        t.ok(
          got.vt
            .to('float64')
            .sub(exact.vt.slice(0, 0, 8))
            .norm()
            .item() < tolerance,
        )
      }
    }
  }
})

test("residual within the theory's bound", async (t) => {
  const values = Array.from({ length: 90 }, (_, i) => 1 / (i + 1))
  const a = withSpectrum(110, 90, values)
  const [r, p] = [12, 10]
  for (const q of [0, 1, 2]) {
    for (const seed of [0, 1, 2]) {
      const got = randomizedSvd(a, r, { powerIterations: q, oversamples: p, seed })
      const residual = matrixNorm(a.sub(product(got)), 2).item()
      const factor =
        1 + Math.sqrt(r / (p - 1)) + ((Math.E * Math.sqrt(r + p)) / p) * Math.sqrt(90 - r)
      const best = values[r] as number
      // Truncation to rank r adds at most σ_{r+1} (Halko, Martinsson & Tropp, theorem 9.3).
      t.ok(residual <= best * (1 + factor ** (1 / (2 * q + 1))), `q ${q}: ${residual / best}`)
      t.ok(residual >= best * (1 - 1e-10))
      t.ok(orthogonality(got.u) < 1e-12 && orthogonality(got.vt.T) < 1e-12)
    }
  }
  const coarse = randomizedSvd(a, r, { method: 'single-pass' })
  t.ok(a.sub(product(coarse)).norm().item() < 3 * Math.hypot(...values.slice(r)))
})

test('rank-deficient, zero, tiny, huge, rank beyond the matrix, wide panels', async (t) => {
  for (const method of methods) {
    const thin = withSpectrum(80, 60, [3, 2, 1])
    for (const scale of [1, 1e-160, 1e160]) {
      const a = thin.mul(scale)
      const got = randomizedSvd(a, 6, { method })
      t.ok(product(got).div(scale).sub(thin).norm().item() < 1e-11, `${method} ${scale}`)
      t.ok((got.s.data[3] as number) < 1e-11 * scale)
    }
    t.equal(
      randomizedSvd(zeros([70, 50]), 4, { method })
        .s.norm()
        .item(),
      0,
    )
    const all = randomizedSvd(normal([20, 9], 3), 50, { method })
    t.same([all.u.shape, all.s.shape, all.vt.shape], [[20, 9], [9], [9, 9]])
    t.ok(
      product(all)
        .sub(normal([20, 9], 3))
        .norm()
        .item() < 1e-12,
    )
  }
  const a = withSpectrum(300, 260, decay(140, 0.93))
  const wide = randomizedSvd(a.to('float32'), 120)
  t.ok(
    a.sub(product(wide)).norm().item() < 1.05 * Math.hypot(...decay(140, 0.93).slice(120)) + 1e-5,
  )
  for (const normalizer of ['qr', 'lu', 'none'] as const) {
    const b = withSpectrum(90, 80, decay(60, 0.7))
    const got = randomizedSvd(b, 5, { normalizer, powerIterations: 2 })
    t.ok(b.sub(product(got)).norm().item() < 1.001 * Math.hypot(...decay(60, 0.7).slice(5)))
  }
})

test('LU between products keeps what products alone would lose, and singular panels too', async (t) => {
  // After six products without any, directions under 1e-3 of the first have left float32.
  const values = [...decay(8, 0.2), ...decay(40, 0.9).map((x) => x * 1e-7)]
  const a = withSpectrum(160, 120, values).to('float32')
  const last = (normalizer: 'lu' | 'none') => {
    const got = randomizedSvd(a, 8, { normalizer, powerIterations: 6 })
    return Math.abs((got.s.data[7] as number) / (values[7] as number) - 1)
  }
  t.ok(last('lu') < 0.02, `${last('lu')}`)
  t.ok(last('none') > 0.2, `${last('none')}`)
  for (const [rank, width] of [
    [3, 6],
    [3, 70],
    [0, 20],
  ] as const) {
    const low = withSpectrum(150, 130, [...Array(rank).fill(1), 0])
    for (const method of ['power', 'block-krylov'] as const) {
      const got = randomizedSvd(low, width, { normalizer: 'lu', method })
      t.ok(low.sub(product(got)).norm().item() < 1e-12, `${method} ${rank} ${width}`)
    }
  }
})

test('float32 keeps what the matrix has: steep spectra, to its rounding', async (t) => {
  const steep = {
    gap: [...Array(8).fill(1), ...decay(150, 0.9).map((x) => x * 1e-5)],
    halves: decay(60, 0.5),
    cubes: Array.from({ length: 180 }, (_, i) => (i + 1) ** -3),
  }
  for (const [name, values] of Object.entries(steep)) {
    const a = withSpectrum(220, 190, values)
    for (const powerIterations of [1, 2, 4]) {
      const got = randomizedSvd(a.to('float32'), 16, { powerIterations })
      const tail = Math.hypot(...values.slice(16))
      const residual = a.sub(product(got)).norm().item()
      t.ok(residual <= tail * 1.0001 + 5e-7, `${name} ${powerIterations}: ${residual} for ${tail}`)
      for (const [i, s] of got.s.data.entries())
        t.ok(Math.abs(s - (values[i] as number)) < 5e-7, `${name} ${powerIterations} value ${i}`)
      t.ok(orthogonality(got.u) < 1e-5 && orthogonality(got.vt.T) < 1e-5)
    }
  }
})

test('adaptive rank is the least that meets the tolerance', async (t) => {
  const values = decay(90, 0.8)
  const a = withSpectrum(120, 100, values)
  const tail = (r: number) => Math.hypot(...values.slice(r)) / Math.hypot(...values)
  for (const tolerance of [0.5, 0.1, 1e-3]) {
    const { u, s, vt } = randomizedSvd(a, 60, { tolerance })
    const r = s.size
    t.same(
      [u.shape, vt.shape],
      [
        [120, r],
        [r, 100],
      ],
    )
    t.ok(tail(r) <= tolerance && tail(r - 1) > tolerance, `${tolerance}: rank ${r}`)
  }
  t.equal(randomizedSvd(a, 3, { tolerance: 1e-3 }).s.size, 3, 'rank is the most')
})

test('the same bits for any number of threads, layouts, asynchronously; seeds differ', async (t) => {
  const a = normal([400, 330], 5).to('float32')
  const before = threads()
  try {
    setThreads(1)
    const one = randomizedSvd(a, 10, { powerIterations: 2 })
    for (const n of [2, 3, 5]) {
      setThreads(n)
      const other = randomizedSvd(a, 10, { powerIterations: 2 })
      t.same([other.u.data, other.s.data, other.vt.data], [one.u.data, one.s.data, one.vt.data])
    }
    const later = await randomizedSvdAsync(a, 10, { powerIterations: 2 })
    t.same(later.vt.data, one.vt.data)
    const across = randomizedSvd(a.T.clone().T, 10, { powerIterations: 2 })
    t.ok(across.s.sub(one.s).norm().item() < 1e-4 * one.s.norm().item(), 'columns side by side')
    t.notSame(randomizedSvd(a, 10, { powerIterations: 2, seed: 1 }).s.data, one.s.data)
    const batch = Tensor.from({
      data: Float32Array.from([...a.data, ...a.data]),
      shape: [2, 400, 330],
    })
    t.same(randomizedSvd(batch, 10, { powerIterations: 2 }).s.select(0, 1).clone().data, one.s.data)
  } finally {
    setThreads(before)
  }
  const controller = new AbortController()
  const running = randomizedSvdAsync(normal([1500, 1500], 1), 60, { signal: controller.signal })
  controller.abort()
  await t.rejects(running, AbortError)
})

test('wrong input gets its typed error', async (t) => {
  const bad = zeros([200, 100])
  bad.data[777] = NaN
  for (const method of methods) t.throws(() => randomizedSvd(bad, 3, { method }), NumericalError)
  t.throws(() => randomizedSvd(eye(4), 0), ArgumentError)
  t.throws(() => randomizedSvd(eye(4), 1.5), ArgumentError)
  t.throws(() => randomizedSvd(zeros([4]), 1), ShapeError)
  t.throws(() => randomizedSvd(eye(4), 2, { tolerance: 2 }), ArgumentError)
  t.throws(() => randomizedSvd(zeros([2, 3, 3]), 2, { tolerance: 0.1 }), ShapeError)
  // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
  t.throws(() => randomizedSvd(eye(4), 2, { method: 'lanczos' as any }), ArgumentError)
})
