import { test } from 'tap'
import { Generator, randn, ShapeError, type Tensor, zeros } from '../../lib/index.js'
import { matrixNorm, qr, svd } from '../../lib/linalg/index.js'
import { extendBasis, FrequentDirections, withoutSpan } from '../../lib/subspace/index.js'
import { orthogonality } from '../linalg/orthogonality.js'

const normal = (shape: number[], seed: number) => randn(shape, { generator: new Generator(seed) })

test("frequent directions keep their bound, and B's Gram matrix below A's", async (t) => {
  const [d, size] = [30, 10]
  for (const decay of [0, 0.3]) {
    const scale = Float32Array.from({ length: d }, (_, j) => Math.exp(-decay * j))
    const a = normal([400, d], 3).mul({ data: scale, shape: [d] })
    const fd = new FrequentDirections(d, size)
    // In uneven portions, as steps bring them.
    for (let at = 0, n = 1; at < 400; at += n, n = (n * 3 + 1) % 17 || 1) {
      fd.append(a.slice(0, at, Math.min(400, at + n)))
    }
    const b = fd.sketch()
    t.ok((b.shape[0] as number) <= size)
    const [wa, wb] = [a.to('float64'), b.to('float64')]
    const difference = wa.T.matmul(wa).sub(wb.T.matmul(wb))
    const values = svd(wa).s.data
    const error = matrixNorm(difference, 2).item()
    for (let k = 0; k < size; k++) {
      let tail = 0
      for (let i = k; i < d; i++) tail += (values[i] as number) ** 2
      t.ok(
        error <= (tail / (size - k)) * (1 + 1e-4),
        `k = ${k}: ${error} against ${tail / (size - k)}`,
      )
    }
    const again = new FrequentDirections(d, size)
    again.loadState(fd.state())
    t.ok(again.sketch().sub(b).norm().item() < 1e-4 * b.norm().item())
  }
  t.throws(() => new FrequentDirections(4, 2).append(zeros([1, 3])), ShapeError)
})

test('a basis grows until the energy is held, stays orthonormal, and updates keep out of it', async (t) => {
  const u = qr(normal([20, 6], 1)).q
  const s = [5, 3, 2, 1, 0.5, 0.1]
  const matrix = u
    .mul({ data: Float32Array.from(s), shape: [6] })
    .matmul(qr(normal([50, 6], 2)).q.T)
  const total = s.reduce((sum, x) => sum + x * x, 0)
  for (const threshold of [0.5, 0.9, 0.99, 1]) {
    let k = 0
    for (let energy = 0; energy < threshold * total * (1 - 1e-6); k++)
      energy += (s[k] as number) ** 2
    const basis = extendBasis(null, matrix, threshold) as Tensor
    t.equal(basis.shape[1], k, `threshold ${threshold}`)
  }
  let basis: Tensor | null = null
  for (let task = 0; task < 6; task++) {
    const before: Tensor | null = basis
    basis = extendBasis(
      basis,
      normal([20, 8], 10 + task).matmul(normal([8, 40], task)),
      0.8,
    ) as Tensor
    t.ok(orthogonality(basis) < 1e-5)
    if (before) t.ok(withoutSpan(before, basis).norm().item() < 1e-5, 'the old span is kept')
    const g = withoutSpan(normal([20, 7], 99), basis)
    t.ok(basis.T.matmul(g).norm().item() < 1e-5)
  }
  t.ok(((basis as Tensor).shape[1] as number) <= 20)
  t.equal(extendBasis(null, zeros([5, 4]), 0.9), null)
})
