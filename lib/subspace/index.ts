/** Low-rank adapters, protected subspaces, spectra. */

export {
  type AdaptableLayer,
  type Adapted,
  Adapter,
  type AdapterOptions,
  Adapters,
  adaptable,
  attach,
  type Initialise,
  type Start,
  type Targets,
} from './adapters.js'
export { FrequentDirections } from './frequent-directions.js'
export { type LoraOptions, lora } from './lora.js'
export { loadAdapters, type SaveAdaptersOptions, saveAdapters } from './peft-files.js'
export { type PissaOptions, pissa, pissaStart } from './pissa.js'
export { countForEnergy, extendBasis, withoutSpan } from './protected.js'
export { type AlphaReqOptions, alphaReq, rankMe, spectrum } from './spectra.js'
