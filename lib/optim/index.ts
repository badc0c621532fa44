/** Optimizers for any training loop. */

export { AdamW, type AdamWOptions } from './adamw.js'
export { type MuonGroups, muonGroups, type NamedParameters } from './groups.js'
export { Lion, type LionOptions } from './lion.js'
export { type AdjustLr, Muon, type MuonOptions, NorMuon, type NorMuonOptions } from './muon.js'
export {
  type CommonOptions,
  type LiveGroup,
  type NonFinite,
  Optimizer,
  type OptimizerState,
  type Parameter,
  type ParamGroup,
} from './optimizer.js'
export { SGD, type SgdOptions } from './sgd.js'
