/** The randomized SVD on every device against the CPU's and the exact one. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import {
  cholesky,
  eigh,
  eigvalsh,
  pinv,
  qr,
  randomizedSvd,
  solve,
  solveTriangular,
  svd,
  svdvals,
} from '../../lib/linalg/index.js'
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

  test(`factorizations on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(42)
    const random = (...shape: number[]) => p.randn(shape, { generator: g, dtype: 'float64' })
    const wide = (x: p.Tensor) => x.to('cpu').to('float64')
    const near = (name: string, x: p.Tensor, y: p.Tensor, tolerance: number) => {
      const error = wide(x).sub(wide(y)).abs().max().item()
      t.ok(error <= tolerance * (1 + wide(y).abs().max().item()), `${name}: ${error}`)
    }
    const there = (name: string, ...xs: p.Tensor[]) =>
      t.ok(
        xs.every((x) => x.device === id),
        `${name} stays on the device`,
      )
    const orthonormal = (name: string, q: p.Tensor, tolerance: number) =>
      near(name, wide(q).T.matmul(wide(q)), p.eye(q.shape[1] as number), tolerance)

    for (const dtype of ['float32', 'float64'] as const) {
      const tolerance = dtype === 'float32' ? 5e-5 : 1e-12
      const on = (x: p.Tensor) => x.to(dtype).to(id)

      for (const [m, n] of [
        [70, 40],
        [33, 66],
        [5, 5],
        [1, 3],
      ] as [number, number][]) {
        const a = on(random(m, n))
        const name = `${dtype} ${m}×${n}`
        const { q, r } = qr(a)
        there(`qr ${name}`, q, r)
        near(`qr ${name}`, q.matmul(r), a, tolerance)
        orthonormal(`q of ${name}`, q, tolerance)
        near(`r of ${name}`, r, qr(wide(a)).r, tolerance * 10)
        const { u, s, vt } = svd(a)
        there(`svd ${name}`, u, s, vt)
        near(`svd ${name}`, u.mul(s).matmul(vt), a, tolerance)
        orthonormal(`u of ${name}`, u, tolerance)
        orthonormal(`v of ${name}`, vt.T, tolerance)
        near(`values of ${name}`, s, svdvals(wide(a)), tolerance)
        near(`signs of ${name}`, u, svd(wide(a)).u, tolerance * 100)
        near(`values alone of ${name}`, svdvals(a), s, tolerance)
      }
      // Rank 2 of 12: the other vectors are orthonormal too; far from 1; zero.
      const low = random(20, 2).matmul(random(2, 12))
      const factors = svd(on(low))
      near(`${dtype} low rank`, factors.u.mul(factors.s).matmul(factors.vt), low, tolerance)
      orthonormal(`${dtype} u of low rank`, factors.u, tolerance)
      orthonormal(`${dtype} v of low rank`, factors.vt.T, tolerance)
      const tiny = svd(on(random(9, 6)).mul(1e-25))
      near(
        `${dtype} tiny`,
        tiny.u.mul(tiny.s.mul(1e25)).matmul(tiny.vt).norm(),
        tiny.s.mul(1e25).norm(),
        1e-4,
      )
      orthonormal(`${dtype} zero`, svd(on(p.zeros([7, 4]))).u, tolerance)
      near(
        `${dtype} pinv`,
        pinv(on(low))
          .matmul(on(low))
          .matmul(pinv(on(low))),
        pinv(low),
        tolerance * 100,
      )

      for (const n of [1, 30, 70]) {
        const b = random(n, n)
        // Of seventy rows Jacobi's rotations are launched one by one: few of them keep the emulator quick.
        const spread = n === 70 ? p.eye(n, { dtype: 'float64' }).mul(p.arange(n).to('float64')) : b
        const symmetric = on(n === 70 ? spread.add(b.add(b.T).mul(1e-3)) : b.add(b.T))
        const { values, vectors } = eigh(symmetric)
        const name = `${dtype} ${n}`
        there(`eigh ${name}`, values, vectors)
        const scaled = tolerance * n
        near(`eigh ${name}`, vectors.mul(values).matmul(vectors.T), symmetric, scaled)
        orthonormal(`eigenvectors ${name}`, vectors, tolerance)
        near(`eigenvalues ${name}`, values, eigvalsh(wide(symmetric)), scaled)
        near(`signs ${name}`, vectors, eigh(wide(symmetric)).vectors, scaled * 100)

        const definite = on(b.matmul(b.T).add(p.eye(n, { dtype: 'float64' }).mul(n)))
        const l = cholesky(definite)
        there(`cholesky ${name}`, l)
        near(`cholesky ${name}`, l, cholesky(wide(definite)), scaled)
        const right = on(random(n, 3))
        const x = solve(symmetric.add(on(p.eye(n)).mul(3 * n)), right)
        there(`solve ${name}`, x)
        near(`solve ${name}`, symmetric.add(on(p.eye(n)).mul(3 * n)).matmul(x), right, scaled * 10)
        near(`triangular ${name}`, l.matmul(solveTriangular(l, right)), right, scaled * 10)
        near(
          `transposed triangular ${name}`,
          l.T.matmul(solveTriangular(l, right, { transpose: true })),
          right,
          scaled * 10,
        )
      }
      // Rows change places: of a permutation all do.
      const permutation = p.tensor(
        Array.from({ length: 40 }, (_, i) =>
          Array.from({ length: 40 }, (_, j) => Number(j === (i * 7 + 3) % 40)),
        ),
        { dtype: 'float64' },
      )
      const rhs = random(40, 2)
      near(`${dtype} pivots`, solve(on(permutation), on(rhs)), permutation.T.matmul(rhs), tolerance)
      t.same(qr(on(random(3, 6, 4))).q.shape, [3, 6, 4], 'a batch')
      const view = on(random(20, 30)).slice(0, 1, 19, 3).T
      near(`${dtype} a view`, svdvals(view), svdvals(wide(view)), tolerance)
    }
    t.throws(() => cholesky(p.eye(40).mul(-1).to(id)), { message: /row 0/ })
    t.throws(() => solve(p.zeros([5, 5]).to(id), p.ones([5, 1]).to(id)), { message: /column 0/ })
    t.throws(() => eigh(p.full([4, 4], Number.NaN).to(id)), p.NumericalError)
    t.throws(() => svd(p.full([4, 3], Number.NaN).to(id)), p.NumericalError)
    t.equal(solve(p.eye(3), p.ones([3]).to(id)).device, id, 'goes where b is')
  })
}
