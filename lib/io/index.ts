/** Files: safetensors. */

export {
  loadSafetensors,
  type OpenOptions,
  openSafetensors,
  SafetensorsFile,
  saveSafetensors,
} from './safetensors.js'
