/** Matrix products, orthogonalization, decompositions. */

export {
  type Coefficients,
  minimaxQuintic,
  polarExpressSchedule,
  type Quintic,
} from './coefficients.js'
export { type MatmulOptions, matmul, matmulAsync } from './matmul.js'
export { type OrthogonalizeOptions, orthogonalize, orthogonalizeAsync } from './orthogonalize.js'
