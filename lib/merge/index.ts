/** Merging of checkpoints: one file a method. */

export { average } from './average.js'
export { type OpcmOptions, opcm, projectedTask } from './opcm.js'
export {
  type MergeMethod,
  type MergeOptions,
  type MergeResult,
  mergeCheckpoints,
  type Piece,
  type Sources,
} from './stream.js'
export { type TaskArithmeticOptions, taskArithmetic } from './task-arithmetic.js'
export { type TiesOptions, ties } from './ties.js'
