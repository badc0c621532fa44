/** Goes through a data set in batches, epoch after epoch, from any place on to the same bits. */

import { checkInteger, requireOptions, wrong } from '../engine/check.js'
import { Generator } from '../random/generator.js'
import { type Batch, batchOf, checkDataset, type Dataset } from './dataset.js'

/** Examples that can be had by number: what a DataLoader goes through. */
export interface Examples<B> {
  /** How many there are. */
  readonly length: number
  /** The examples of these numbers, in this order. */
  batch(indices: Int32Array): B
}

/**
 * Changes a batch. Whatever it draws comes from `generator`, which stands at a place of its own for
 * every batch: the same epoch and batch give the same numbers.
 */
export type Transform<B> = (batch: B, generator: Generator) => B

/** Options of a DataLoader. */
export interface LoaderOptions<B> {
  batchSize: number
  /** Another order every epoch; false by default. */
  shuffle?: boolean
  /** Of the order and the transforms; 0 by default. */
  seed?: number
  /** Leaves out a last batch that is not full; false by default. */
  dropLast?: boolean
  /** Applied to every batch, first to last. */
  transforms?: readonly Transform<B>[]
}

/** Where a loader stands. */
export interface LoaderState {
  epoch: number
  /** Batches given in this epoch. */
  batch: number
  seed: number
}

/** Positions of the random stream that one batch's transforms have to themselves. */
const drawsPerBatch = 2 ** 24

/** Examples of a Dataset. */
const ofDataset = (data: Dataset): Examples<Batch> => ({
  length: data.labels.length,
  batch: (indices) => batchOf(data, indices),
})

/**
 * Iterating gives the rest of the present epoch's batches and then begins the next. The order is a
 * function of seed and epoch alone, so that the loader's state is three numbers.
 *
 * ```ts
 * const loader = new DataLoader(digits().train, { batchSize: 64, shuffle: true, seed: 1 })
 * for (let epoch = 0; epoch < 3; epoch++) for (const { inputs, targets } of loader) { … }
 * ```
 */
export class DataLoader<B = Batch> {
  readonly #examples: Examples<B>
  readonly #options: Required<LoaderOptions<B>>
  #epoch = 0
  #batch = 0

  constructor(data: Dataset | Examples<B>, options: LoaderOptions<B>) {
    if (typeof data !== 'object' || data === null || !('labels' in data || 'batch' in data)) {
      wrong('data', 'a Dataset, or { length, batch(indices) }', data)
    }
    this.#examples =
      'batch' in data ? data : (ofDataset(checkDataset(data)) as unknown as Examples<B>)
    const {
      batchSize,
      shuffle = false,
      seed = 0,
      dropLast = false,
      transforms = [],
    } = requireOptions(options)
    checkInteger(batchSize, 'batchSize', 1)
    checkInteger(seed, 'seed', 0)
    if (!Array.isArray(transforms) || transforms.some((t) => typeof t !== 'function')) {
      wrong('transforms', 'a list of functions', transforms)
    }
    this.#options = { batchSize, shuffle, seed, dropLast, transforms }
  }

  /** Batches an epoch. */
  get length(): number {
    const { batchSize, dropLast } = this.#options
    const whole = this.#examples.length / batchSize
    return dropLast ? Math.floor(whole) : Math.ceil(whole)
  }

  /** Epochs that are over. */
  get epoch(): number {
    return this.#epoch
  }

  #order(): Int32Array {
    const { length } = this.#examples
    const { shuffle, seed } = this.#options
    if (!shuffle) return Int32Array.from({ length }, (_, i) => i)
    const generator = new Generator(seed)
    generator.skip(this.#epoch * length)
    return generator.permutation(length)
  }

  *[Symbol.iterator](): IterableIterator<B> {
    const order = this.#order()
    const { batchSize, seed, transforms } = this.#options
    const { length } = this
    const epoch = this.#epoch
    // Of a stream of their own: the order's ends long before 2^52.
    const generator = new Generator(seed)
    while (this.#epoch === epoch && this.#batch < length) {
      const at = this.#batch++
      let batch = this.#examples.batch(order.subarray(at * batchSize, (at + 1) * batchSize))
      for (const transform of transforms) {
        generator.position = 2 ** 52 - (epoch * length + at + 1) * drawsPerBatch
        batch = transform(batch, generator)
      }
      if (this.#batch === length) this.#next()
      yield batch
    }
    if (length === 0) this.#next()
  }

  #next(): void {
    this.#epoch++
    this.#batch = 0
  }

  stateDict(): LoaderState {
    return { epoch: this.#epoch, batch: this.#batch, seed: this.#options.seed }
  }

  /** Goes to a saved place; iterating goes on from there. */
  loadStateDict(state: LoaderState): void {
    const epoch = checkInteger(state?.epoch, 'state.epoch', 0)
    const batch = checkInteger(state?.batch, 'state.batch', 0, Math.max(this.length, 0))
    const seed = checkInteger(state?.seed, 'state.seed', 0)
    this.#options.seed = seed
    this.#epoch = epoch
    this.#batch = batch
  }
}
