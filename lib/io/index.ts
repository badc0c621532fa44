/** Files: safetensors, states, checkpoints. */

export {
  type CheckpointParts,
  loadCheckpoint,
  type Stateful,
  saveCheckpoint,
} from './checkpoint.js'
export {
  loadSafetensors,
  type OpenOptions,
  openSafetensors,
  SafetensorsFile,
} from './safetensors.js'
export { type Announced, SafetensorsWriter, saveSafetensors } from './safetensors-writer.js'
export { loadState, type StateValue, saveState } from './state.js'
