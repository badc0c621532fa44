/** Data sets, and ways through them. */

export { type Corruption, corrupt, corruptions } from './corruptions.js'
export { type Batch, type BatchOptions, batches, type Dataset, subset } from './dataset.js'
export { type Digits, digits } from './digits.js'
export {
  DataLoader,
  type Examples,
  type LoaderOptions,
  type LoaderState,
  type Transform,
} from './loader.js'
export { mobyDick, stateOfTheUnion, TokenWindows } from './text.js'
export { BytePairTokenizer, CharTokenizer, type Tokenizer } from './tokenizer.js'
export {
  gaussianNoise,
  normalize,
  permutePixels,
  randomFlip,
  randomShift,
  shaped,
} from './transforms.js'
