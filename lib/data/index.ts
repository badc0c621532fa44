/** Data sets. */

export { type Batch, type BatchOptions, batches, type Dataset, subset } from './dataset.js'
export { type Digits, digits } from './digits.js'
