/** The randomized SVD on every device against the CPU's and the exact one. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import { qr, randomizedSvd, svd } from '../../lib/linalg/index.js'
import { acceleratorsUnderTest } from '../devices.js'

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`randomized SVD on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(41)
    const random = (...shape: number[]) => p.randn(shape, { generator: g })
    /** Singular values 1, 0.8, 0.8² … */
    const decaying = (rows: number, cols: number) => {
      const k = Math.min(rows, cols)
      const scale = p.tensor(Array.from({ length: k }, (_, i) => 0.8 ** i))
      return qr(random(rows, k))
        .q.mul(scale)
        .matmul(qr(random(cols, k)).q.T)
    }
    const check = (name: string, a: p.Tensor, rank: number, options = {}, unit = 1) => {
      const tolerance = a.dtype === 'float32' ? 2e-5 : 1e-12
      const got = randomizedSvd(a.to(id), rank, options)
      t.ok(
        [got.u, got.s, got.vt].every((x) => x.device === id),
        `${name} stays on the device`,
      )
      const [u, s, vt] = [got.u, got.s, got.vt].map((x) => x.to('cpu').to('float64').div(1))
      const exact = svd(a.to('float64').div(unit)).s.slice(-1, 0, rank)
      const error = (x: p.Tensor, y: p.Tensor) => x.sub(y).abs().max().item()
      const [U, S, V] = [u, s, vt] as [p.Tensor, p.Tensor, p.Tensor]
      t.ok(error(S.div(unit), exact) < tolerance, `${name}: values ${error(S.div(unit), exact)}`)
      const eye = p.eye(rank, { dtype: 'float64' })
      t.ok(error(U.T.matmul(U), eye) < tolerance, `${name}: u is orthonormal`)
      t.ok(error(V.matmul(V.T), eye) < tolerance, `${name}: vt is orthonormal`)
      const { u: own } = randomizedSvd(a, rank, options)
      t.ok(error(U, own.to('float64')) < 100 * tolerance, `${name}: u as on the CPU`)
    }
    const a = decaying(150, 130)
    check('tall', a, 6)
    check('wide', a.T, 6)
    check('a transposed view', decaying(130, 150).T, 22)
    check('a part', decaying(170, 160).slice(0, 3, 150).slice(1, 5, 140), 4)
    check('float64', a.to('float64'), 10, { seed: 3 })
    check('no power iterations', decaying(140, 700), 5, { powerIterations: 1 })
    check('tiny', a.mul(1e-25), 5, {}, 1e-25)
    t.same(randomizedSvd(p.zeros([100, 90]).to(id), 4).s.toArray(), [0, 0, 0, 0], 'zero')
    t.throws(() => randomizedSvd(p.full([100, 90], Number.NaN).to(id), 4), p.NumericalError)
    const batch = p.stack([decaying(60, 50), decaying(60, 50)])
    t.same(randomizedSvd(batch.to(id), 3).s.shape, [2, 3])
    // What has no form for devices goes by way of the CPU.
    t.equal(randomizedSvd(a.to(id), 100).u.device, id)
    t.equal(randomizedSvd(a.to(id), 9, { tolerance: 0.1 }).u.device, id)
  })
}
