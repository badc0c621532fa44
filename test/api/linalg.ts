/** The functions of 'palimpsest/linalg'. */

import * as l from '../../lib/linalg/index.js'
import { int, num, options, row, spd, type Table, t, thing, value, word, x } from './derive.js'

const notFloat = ['int32', 'bool'] as const
const matrix = { refused: [...notFloat], shapes: [[3], []] }
const square = { refused: [...notFloat], shapes: [[3], [2, 3]] }
const a = () => t([4, 3])
const signal = thing(() => new AbortController().signal, { optional: true })
const later = options({ signal })
const products = {
  a: x(() => t([2, 3]), { refused: [...notFloat], shapes: [[]] }),
  b: x(() => t([3, 4]), { refused: [...notFloat], shapes: [[], [2, 4]] }),
}
const compute = word('float32', { optional: true })
const orthogonal = {
  steps: int(5, { optional: true, low: 0 }),
  method: word('auto', { optional: true }),
  normalization: word('gelfand', { optional: true }),
  compute,
  eps: num(1e-7, { optional: true, low: 0 }),
}
const coefficients = value(() => 'muon', {
  'an unknown word': 'no such word',
  'a number': 7,
  'an object': {},
  pairs: [[1, 2]],
  'words in triples': [['a', 'b', 'c']],
  'NaN in triples': [[NaN, 1, 1]],
})
const newton = {
  x: x(a, { refused: [...notFloat], shapes: [[3], []], finite: 'a|x|the matrix' }),
  options: options({ ...orthogonal, coefficients }),
}
const randomized = {
  a: x(a, { ...matrix, finite: 'a|x|the matrix' }),
  rank: int(2, { low: 1 }),
  options: options({
    oversamples: int(5, { optional: true, low: 0 }),
    powerIterations: int(2, { optional: true, low: 0 }),
    normalizer: word('qr', { optional: true }),
    seed: int(1, { optional: true, low: 0 }),
    tolerance: num(0, { optional: true, low: 0, high: 1 }),
    method: word('power', { optional: true }),
  }),
}
const singular = () => t([3, 3]).mul(0)
const positive = { a: x(() => spd(3), { ...square, finite: 'a|x|the matrix' }) }
const system = {
  a: x(() => spd(3), { ...square, finite: 'a|x|the matrix' }),
  b: x(() => t([3, 2]), { refused: [...notFloat, 'float64'], shapes: [[4, 2], []] }),
}
const general = { a: x(a, { ...matrix, finite: 'a|x|the matrix' }) }

export const linalg: Table = {
  matmul: row(l.matmul, { ...products, options: options({ compute }) }),
  matmulAsync: row(l.matmulAsync, {
    a: products.a,
    b: products.b,
    options: options({ compute, signal }),
  }),
  orthogonalize: row(l.orthogonalize, newton),
  orthogonalizeAsync: row(l.orthogonalizeAsync, newton),
  minimaxQuintic: row(l.minimaxQuintic, {
    low: num(0.1, { refused: [0, -1, Infinity] }),
    high: num(1, { refused: [0, -1, Infinity, 0.05] }),
  }),
  polarExpressSchedule: row(l.polarExpressSchedule, {
    steps: int(5, { low: 0 }),
    options: options({
      lower: num(1e-3, { optional: true, refused: [0, -1, 2] }),
      safety: num(1e-2, { optional: true, low: 0 }),
      cushion: num(0.02, { optional: true, refused: [-1, 2] }),
    }),
  }),
  qr: row(l.qr, general),
  qrAsync: row(l.qrAsync, { ...general, options: later }),
  svd: row(l.svd, general),
  svdAsync: row(l.svdAsync, { ...general, options: later }),
  svdvals: row(l.svdvals, general),
  randomizedSvd: row(l.randomizedSvd, randomized),
  randomizedSvdAsync: row(l.randomizedSvdAsync, randomized),
  eigh: row(l.eigh, positive),
  eighAsync: row(l.eighAsync, { ...positive, options: later }),
  eigvalsh: row(l.eigvalsh, positive),
  cholesky: row(l.cholesky, {
    a: {
      ...positive.a,
      wrong: [...positive.a.wrong, ['a singular matrix', singular, 'the matrix']],
    },
  }),
  choleskyAsync: row(l.choleskyAsync, { ...positive, options: later }),
  solve: row(l.solve, system),
  solveAsync: row(l.solveAsync, { ...system, options: later }),
  solveTriangular: row((m, b, o) => l.solveTriangular(m, b, o), {
    t: x(() => spd(3), square),
    b: system.b,
    options: options({}),
  }),
  pinv: row(l.pinv, {
    ...general,
    options: options({ rtol: num(0.1, { optional: true, low: 0, high: 1 }) }),
  }),
  matrixNorm: row(l.matrixNorm, {
    a: x(a, { shapes: [[3], []] }),
    order: value(() => 'fro', {
      'an unknown word': 'abacus',
      'a number': 3,
      null: null,
      'an object': {},
    }),
  }),
}
