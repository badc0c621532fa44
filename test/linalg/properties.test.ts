import fc from 'fast-check'
import { test } from 'tap'
import { type Tensor, zeros } from '../../lib/index.js'
import {
  cholesky,
  eigh,
  matmul,
  matrixNorm,
  qr,
  solve,
  solveTriangular,
  svd,
} from '../../lib/linalg/index.js'
import { relativeError, waves } from '../fixtures.js'
import { agrees, at, build, type Plain, valuesOf } from '../tensor/plain.js'

const runs = { numRuns: 60 }
const extent = fc.integer({ min: 0, max: 6 })
const width = fc.integer({ min: 1, max: 9 })
const seed = fc.integer({ min: 1, max: 999 })

/** How a matrix may lie in memory. */
const layouts = {
  plain: (x: Tensor) => x,
  transposed: (x: Tensor) => x.transpose().clone().transpose(),
  'every second row': (x: Tensor) => spread(x, 0),
  'every second column': (x: Tensor) => spread(x, 1),
  'from behind': (x: Tensor) => x.flip(-1).flip(-1),
}
const layout = fc.constantFrom(...(Object.keys(layouts) as (keyof typeof layouts)[]))

/** The same matrix with other numbers between its rows or columns. */
function spread(x: Tensor, axis: number): Tensor {
  const shape = x.shape.with(axis, 2 * (x.shape[axis] as number))
  const whole = zeros(shape, { dtype: x.dtype }).add(7)
  whole.slice(axis, 0, shape[axis], 2).copy_(x)
  return whole.slice(axis, 0, shape[axis], 2)
}

/** Quarters, whose products sum exactly in any order. */
const quarters = (shape: readonly number[], s: number): { x: Tensor; plain: Plain } => {
  const x = waves(shape, s).mul(16).round().div(4)
  return { x, plain: { shape: [...shape], values: valuesOf(x) } }
}

const sum = (n: number, f: (i: number) => number) => {
  let total = 0
  for (let i = 0; i < n; i++) total += f(i)
  return total
}

test('matmul: any layouts, transposes and broadcast batches, exactly', async () => {
  fc.assert(
    fc.property(
      fc.tuple(extent, extent, extent),
      fc.constantFrom<number[]>([], [2], [1]),
      fc.constantFrom<number[]>([], [2]),
      fc.tuple(layout, layout, fc.boolean(), fc.boolean()),
      fc.constantFrom('float32', 'float64'),
      seed,
      ([m, k, n], left, right, [la, lb, transposeA, transposeB], dtype, s) => {
        const a = quarters([...left, ...(transposeA ? [k, m] : [m, k])], s)
        const b = quarters([...right, ...(transposeB ? [n, k] : [k, n])], s + 1)
        const laid = ({ x }: { x: Tensor }, name: keyof typeof layouts) =>
          x.rank === 2 ? layouts[name](x.to(dtype)) : x.to(dtype)
        const batch = left.length + right.length === 0 ? [] : [Math.max(1, ...left, ...right)]
        const entry = (
          { plain }: { plain: Plain },
          i: number[],
          swap: boolean,
          from: readonly number[],
        ) => {
          const [row, col] = i.slice(-2) as [number, number]
          const lead = from.length === 0 ? [] : [from[0] === 1 ? 0 : (i[0] as number)]
          return at(plain, [...lead, ...(swap ? [col, row] : [row, col])])
        }
        const expected = build([...batch, m, n], (i) => {
          const lead = i.slice(0, -2)
          const [row, col] = i.slice(-2) as [number, number]
          return sum(
            k,
            (j) =>
              entry(a, [...lead, row, j], transposeA, left) *
              entry(b, [...lead, j, col], transposeB, right),
          )
        })
        return agrees(matmul(laid(a, la), laid(b, lb), { transposeA, transposeB }), expected)
      },
    ),
    runs,
  )
})

/** A symmetric matrix with eigenvalues above 1. */
const positive = (n: number, s: number): Tensor => {
  const a = waves([n, n], s)
  const shifted = a.matmul(a.T)
  for (let i = 0; i < n; i++) shifted.array[i * n + i] = (shifted.array[i * n + i] as number) + 1
  return shifted
}

test('factorizations give a view the bits that they give its copy', async () => {
  const same = (a: Tensor, b: Tensor) => `${valuesOf(a)}` === `${valuesOf(b)}`
  fc.assert(
    fc.property(
      width,
      width,
      layout,
      fc.constantFrom('float32', 'float64'),
      seed,
      (m, n, name, dtype, s) => {
        const a = layouts[name](waves([m, n], s).to(dtype))
        const square = layouts[name](positive(n, s).to(dtype))
        const b = layouts[name](waves([n, m], s + 1).to(dtype))
        return (
          same(qr(a).r, qr(a.clone()).r) &&
          same(svd(a).s, svd(a.clone()).s) &&
          same(svd(a).vt, svd(a.clone()).vt) &&
          same(eigh(square).values, eigh(square.clone()).values) &&
          same(cholesky(square), cholesky(square.clone())) &&
          same(solve(square, b), solve(square.clone(), b.clone()))
        )
      },
    ),
    runs,
  )
})

test('Cholesky, systems and norms are what loops find', async () => {
  fc.assert(
    fc.property(width, width, layout, seed, (n, m, name, s) => {
      const a = positive(n, s)
      const l = new Float64Array(n * n)
      const L = (i: number, j: number) => l[i * n + j] as number
      for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) {
          const rest = (a.array[i * n + j] as number) - sum(j, (k) => L(i, k) * L(j, k))
          l[i * n + j] = i === j ? Math.sqrt(rest) : rest / L(j, j)
        }
      }
      const b = waves([n, m], s + 1)
      // L·y = b, then Lᵀ·x = y.
      const y = new Float64Array(n * m)
      const x = new Float64Array(n * m)
      for (let c = 0; c < m; c++) {
        for (let i = 0; i < n; i++) {
          const rest = sum(i, (k) => L(i, k) * (y[k * m + c] as number))
          y[i * m + c] = ((b.array[i * m + c] as number) - rest) / L(i, i)
        }
        for (let i = n - 1; i >= 0; i--) {
          const rest = sum(n - 1 - i, (k) => L(i + 1 + k, i) * (x[(i + 1 + k) * m + c] as number))
          x[i * m + c] = ((y[i * m + c] as number) - rest) / L(i, i)
        }
      }
      const squares = sum(n * n, (i) => (a.array[i] as number) ** 2)
      const [view, right] = [layouts[name](a), layouts[name](b)]
      const factor = cholesky(view)
      return (
        relativeError(valuesOf(factor), l) < 1e-11 &&
        relativeError(valuesOf(solveTriangular(layouts[name](factor), right)), y) < 1e-11 &&
        relativeError(valuesOf(solve(view, right)), x) < 1e-10 &&
        Math.abs(matrixNorm(view).item() - Math.sqrt(squares)) < 1e-12 * Math.sqrt(squares)
      )
    }),
    runs,
  )
})
