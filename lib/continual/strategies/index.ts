/** One file a strategy. */

export { Er, type ErOptions } from './er.js'
export { Naive } from './naive.js'
