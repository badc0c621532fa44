/** State as a file: see lib/io/state.ts. */

export { bytesIn, loadState, type StateValue, saveState } from '../io/state.js'
