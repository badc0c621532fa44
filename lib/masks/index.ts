/** Masks: choosing weights, packed bits, allocation over layers, Fisher information. */

export { erk, random, uniform } from './allocate.js'
export {
  DiagonalFisher,
  type DiagonalFisherOptions,
  type EstimateOptions,
  sampleLabels,
} from './fisher.js'
export { Mask, packMasks, unpackMasks } from './mask.js'
export { nm, type ScoreBy, type TopKOptions, topK } from './select.js'
