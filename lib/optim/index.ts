/** Optimizers for any training loop. */

export type { GraphStatistics } from '../engine/native.js'
export { AdamW, type AdamWOptions } from './adamw.js'
export type {
  AlgorithmName,
  AlgorithmOptions,
  CommonOptions,
  LiveGroup,
  OtherGroup,
  Parameter,
  ParamGroup,
  StateDtype,
} from './algorithm.js'
export { Dion, type DionOptions } from './dion.js'
export { loadOptimizerState, saveOptimizerState } from './files.js'
export {
  type MuonGroups,
  type MuonGroupsOptions,
  muonGroups,
  type NamedParameters,
} from './groups.js'
export {
  type LayerwiseOptions,
  layerwiseWeightDecay,
  topSingularValue,
  topSingularValues,
} from './layerwise.js'
export { Lion, type LionOptions } from './lion.js'
export { Muon } from './muon.js'
export { NorMuon, type NorMuonOptions } from './normuon.js'
export {
  type NonFinite,
  Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type Params,
  type WholeOptions,
} from './optimizer.js'
export type { AdjustLr, MuonOptions } from './orthogonalized.js'
export { type Scheduled, Scheduler, type SchedulerState } from './scheduler.js'
export * from './schedules.js'
export * as schedules from './schedules.js'
export { SGD, type SgdOptions } from './sgd.js'
