/** Matrix products, orthogonalization, decompositions. */

export { cholesky, choleskyAsync } from './cholesky.js'
export {
  type Coefficients,
  minimaxQuintic,
  polarExpressSchedule,
  type Quintic,
} from './coefficients.js'
export { type Eigh, eigh, eighAsync, eigvalsh } from './eigh.js'
export { type MatmulOptions, matmul, matmulAsync } from './matmul.js'
export { type MatrixNorm, matrixNorm } from './norm.js'
export {
  type Normalization,
  type OrthogonalizeOptions,
  orthogonalize,
  orthogonalizeAsync,
} from './orthogonalize.js'
export { type PinvOptions, pinv } from './pinv.js'
export { type Qr, qr, qrAsync } from './qr.js'
export {
  type RandomizedSvdOptions,
  randomizedSvd,
  randomizedSvdAsync,
} from './randomized-svd.js'
export { solve, solveAsync, solveTriangular, type TriangularOptions } from './solve.js'
export { type Svd, svd, svdAsync, svdvals } from './svd.js'
