import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import {
  ArgumentError,
  eye,
  Generator,
  NumericalError,
  randn,
  ShapeError,
  tensor,
} from '../../lib/index.js'
import { saveSafetensors } from '../../lib/io/index.js'
import { qr } from '../../lib/linalg/index.js'
import { alphaReq, rankMe, spectrum } from '../../lib/subspace/index.js'

const normal = (shape: number[], seed: number) =>
  randn(shape, { dtype: 'float64', generator: new Generator(seed) })

test('identity covariance uses all directions evenly', async (t) => {
  const d = 12
  // Orthonormal columns that are orthogonal to the constant, so that centring changes nothing.
  const q = qr(
    normal([60, d + 1], 1)
      .slice(1, 0, d)
      .sub(
        normal([60, d + 1], 1)
          .slice(1, 0, d)
          .mean(0, true),
      ),
  ).q
  const values = spectrum(q)
  t.ok(Math.abs(rankMe(values) - d) < 1e-8)
  t.ok(Math.abs(alphaReq(values)) < 1e-8)
})

test('a power law is recovered exactly, over any range', async (t) => {
  for (const alpha of [0.5, 1, 2.5]) {
    const values = Array.from({ length: 50 }, (_, i) => Math.sqrt((i + 1) ** -alpha))
    t.ok(Math.abs(alphaReq(values) - alpha) < 1e-12)
    t.ok(Math.abs(alphaReq(values, { range: [5, 30] }) - alpha) < 1e-12)
    const f = qr(normal([80, 50], 2)).q.mul(tensor(values, { dtype: 'float64' }))
    t.ok(Math.abs(alphaReq(spectrum(f, { center: false })) - alpha) < 1e-9)
  }
})

test('invariant to rotation, shift and scale', async (t) => {
  const f = normal([70, 20], 3).matmul(normal([20, 20], 4))
  const [r, a] = [rankMe(spectrum(f)), alphaReq(spectrum(f))]
  const moved = f
    .matmul(qr(normal([20, 20], 5)).q)
    .mul(7)
    .add(3)
  t.ok(
    Math.abs(rankMe(spectrum(moved)) - r) < 1e-8 && Math.abs(alphaReq(spectrum(moved)) - a) < 1e-8,
  )
  const p = [0.5, 0.25, 0.25]
  t.ok(
    Math.abs(rankMe([2, 1, 1]) - Math.exp(-p.reduce((sum, x) => sum + x * Math.log(x), 0))) < 1e-12,
  )
})

test('edges and wrong input', async (t) => {
  t.equal(rankMe([0, 0]), 0)
  t.ok(Number.isNaN(alphaReq([1])))
  t.throws(() => alphaReq([2, 1], { range: [2, 2] }), ArgumentError)
  t.throws(() => spectrum(eye(3).reshape(9)), ShapeError)
  t.throws(
    () =>
      spectrum(
        tensor([
          [1, Number.NaN],
          [0, 1],
        ]),
      ),
    NumericalError,
  )
})

test('the command looks at every matrix of a file', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'x.safetensors')
  saveSafetensors(path, { a: eye(5), b: tensor([1, 2]) })
  const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, [main, 'spectrum', path, '--json'])
  t.equal(status, 0)
  const { tensors } = JSON.parse(`${stdout}`) as { tensors: { name: string; rankMe: number }[] }
  t.same(
    tensors.map(({ name }) => name),
    ['a'],
  )
  t.ok(Math.abs((tensors[0]?.rankMe as number) - 5) < 1e-6)
})
