import { test } from 'tap'
import { eye, Tensor, tensor } from '../../lib/index.js'
import {
  minimaxQuintic,
  orthogonalize,
  orthogonalizeAsync,
  polarExpressSchedule,
} from '../../lib/linalg/index.js'
import { relativeError, wave } from '../fixtures.js'

const matrix = (rows: number, cols: number, seed = 1) =>
  Tensor.from({ data: wave(rows * cols, seed), shape: [rows, cols] })
const f32 = { compute: 'float32' } as const

test('Polar Express: the published coefficients come out of the construction', async (t) => {
  const published = [
    [8.28721201814563, -23.595886519098837, 17.300387312530933],
    [4.107059111542203, -2.9478499167379106, 0.5448431082926601],
    [3.9486908534822946, -2.908902115962949, 0.5518191394370137],
    [3.3184196573706015, -2.488488024314874, 0.51004894012372],
    [2.300652019954817, -1.6689039845747493, 0.4188073119525673],
  ]
  polarExpressSchedule(5, { safety: 0 }).forEach((step, i) => {
    for (const [j, value] of step.entries()) {
      t.ok(Math.abs(value - (published[i]?.[j] as number)) < 1e-9)
    }
  })
})

test('the minimax quintic alternates at its ends', async (t) => {
  const [a, b, c] = minimaxQuintic(0.2, 1)
  const at = (x: number) => a * x + b * x ** 3 + c * x ** 5
  let worst = 0
  for (let x = 0.2; x <= 1; x += 1e-4) worst = Math.max(worst, Math.abs(1 - at(x)))
  t.ok(Math.abs(1 - at(0.2) - worst) < 1e-6 && Math.abs(at(1) - 1 - worst) < 1e-6)
})

test('singular values go through the polynomial; vectors stay', async (t) => {
  // x = diag(s) turned by two rotations in planes.
  const n = 6
  const s = [1, 0.7, 0.5, 0.2, 0.05, 0.01]
  const turn = (seed: number) => {
    let q = Tensor.from({
      data: Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
      shape: [n, n],
    })
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) {
        const r = Float64Array.from({ length: n * n }, (_, k) => (k % (n + 1) === 0 ? 1 : 0))
        const angle = Math.sin(seed + i * 7 + j)
        r[i * n + i] = r[j * n + j] = Math.cos(angle)
        r[i * n + j] = Math.sin(angle)
        r[j * n + i] = -Math.sin(angle)
        q = q.matmul(Tensor.from({ data: r, shape: [n, n] }))
      }
    }
    return q
  }
  const [u, v] = [turn(1), turn(2)]
  const diagonal = (values: number[]) =>
    Tensor.from({
      data: Float64Array.from({ length: n * n }, (_, k) =>
        k % (n + 1) === 0 ? (values[k / (n + 1)] as number) : 0,
      ),
      shape: [n, n],
    })
  const x = u.matmul(diagonal(s)).matmul(v)
  const norm = Math.hypot(...s)
  const p = (value: number) => {
    let y = value / norm
    for (let i = 0; i < 5; i++) y = 3.4445 * y - 4.775 * y ** 3 + 2.0315 * y ** 5
    return y
  }
  const expected = u.matmul(diagonal(s.map(p))).matmul(v)
  for (const method of ['direct', 'gram'] as const) {
    t.ok(relativeError(orthogonalize(x, { ...f32, method }).data, expected.data) < 1e-5)
  }
})

test('invariances: scale, transpose, batch; direct equals Gram', async (t) => {
  const x = matrix(24, 40)
  const y = orthogonalize(x, f32)
  for (const scale of [1e-30, 1e-12, 3, 1e30]) {
    t.ok(relativeError(orthogonalize(x.mul(scale), f32).data, y.data) < 1e-5, `scale ${scale}`)
  }
  t.ok(relativeError(orthogonalize(x.T, f32).T.clone().data, y.data) < 1e-6)
  t.ok(
    relativeError(
      orthogonalize(x, { ...f32, method: 'gram' }).data,
      orthogonalize(x, { ...f32, method: 'direct' }).data,
    ) < 1e-5,
  )
  const both = Tensor.from({
    data: Float32Array.of(...x.data, ...matrix(24, 40, 2).data),
    shape: [2, 24, 40],
  })
  const batched = orthogonalize(both, f32)
  t.ok(relativeError(batched.select(0, 0).data, y.data) < 1e-6)
  t.ok(relativeError(batched.select(0, 1).data, orthogonalize(matrix(24, 40, 2), f32).data) < 1e-6)
})

test('edge cases: zero, one row, one column, one element', async (t) => {
  t.same(
    orthogonalize(
      tensor([
        [0, 0],
        [0, 0],
      ]),
    ).toArray(),
    [
      [0, 0],
      [0, 0],
    ],
  )
  const row = orthogonalize(tensor([[3, 4]]), { ...f32, coefficients: 'cubic', steps: 20 }).data
  t.ok(Math.abs((row[0] as number) - 0.6) < 1e-5 && Math.abs((row[1] as number) - 0.8) < 1e-5)
  t.ok(
    Math.abs(
      orthogonalize(tensor([[-5]]), { ...f32, coefficients: 'cubic', steps: 20 }).item() + 1,
    ) < 1e-5,
  )
  t.same(orthogonalize(tensor([[1, 2]], { dtype: 'float64' })).dtype, 'float32')
})

test('polar-express and cubic end near orthogonal', async (t) => {
  const x = matrix(20, 64)
  for (const [coefficients, steps, limit] of [
    ['polar-express', 6, 0.03],
    ['polar-express', 8, 0.01],
    ['cubic', 20, 1e-4],
  ] as const) {
    const y = orthogonalize(x, { ...f32, coefficients, steps })
    const gram = y.matmul(y.T)
    const identity = Float32Array.from({ length: 400 }, (_, i) => (i % 21 === 0 ? 1 : 0))
    t.ok(
      relativeError(gram.data, identity) < limit,
      `${coefficients} ${steps}: ${relativeError(gram.data, identity)}`,
    )
  }
})

test('normalizations: Gelfand keeps the polar factor, AOL has that of the scaled rows', async (t) => {
  const long = { ...f32, coefficients: 'cubic', steps: 25 } as const
  for (const x of [matrix(24, 60), matrix(60, 24)]) {
    const polar = orthogonalize(x, long).data
    t.ok(relativeError(orthogonalize(x, { ...long, normalization: 'gelfand' }).data, polar) < 1e-4)
    const wide = x.shape[0] === 24
    const gram = wide ? x.matmul(x.T) : x.T.matmul(x)
    const scale = gram.abs().sum(1).rsqrt()
    const scaled = x.mul(wide ? scale.reshape(24, 1) : scale)
    const aol = orthogonalize(x, { ...long, normalization: 'aol' })
    t.ok(relativeError(aol.data, orthogonalize(scaled, long).data) < 1e-4)
    t.ok(relativeError(aol.data, polar) > 1e-3)
  }
})

test('fewer steps reach the same orthogonality after a closer norm', async (t) => {
  const x = matrix(96, 384)
  const deviation = (u: Tensor) => u.matmul(u.T).sub(eye(96)).norm().item()
  const muon = deviation(orthogonalize(x))
  const coefficients = polarExpressSchedule(2, { lower: 0.2 })
  for (const normalization of ['gelfand', 'aol'] as const) {
    t.ok(deviation(orthogonalize(x, { coefficients, normalization })) < muon)
  }
  t.ok(deviation(orthogonalize(x, { coefficients })) > muon)
})

test('bfloat16 is within 2e-2 of float32 on random matrices', async (t) => {
  for (const [m, n] of [
    [64, 64],
    [48, 256],
    [200, 50],
  ] as const) {
    const x = matrix(m, n)
    t.ok(relativeError(orthogonalize(x).data, orthogonalize(x, f32).data) < 2e-2)
  }
})

test('async gives the same bits', async (t) => {
  const x = matrix(50, 90)
  t.same((await orthogonalizeAsync(x)).data, orthogonalize(x).data)
})
