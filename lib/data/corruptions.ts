/** Corruptions of images at five severities, in the spirit of MNIST-C (Mu & Gilmer, arXiv 1906.02337). */

import { checkChoice, checkInteger } from '../engine/check.js'
import { Generator } from '../random/generator.js'
import { checkDataset, type Dataset } from './dataset.js'
import { extents, rotateImages } from './rotate.js'

export const corruptions = ['noise', 'blur', 'contrast', 'rotation', 'pixelation'] as const
/** A kind of corruption. */
export type Corruption = (typeof corruptions)[number]

// At severities 1 … 5. Deviation of the noise and loss of contrast are parts of the set's range.
const deviations = [0.1, 0.2, 0.3, 0.4, 0.5]
const radii = [0.6, 0.9, 1.2, 1.6, 2]
const contrasts = [0.6, 0.45, 0.3, 0.2, 0.12]
const angles = [10, 20, 30, 40, 50]
const blocks = [2, 3, 4, 5, 6]

/**
 * A corrupted copy of a dataset of one-channel images.
 *
 * - `noise`: Gaussian, deviation 0.1 … 0.5 of the range of values, cut to the range;
 * - `blur`: Gaussian of 0.6 … 2 pixels; edges are repeated;
 * - `contrast`: distances from the middle of the range shrink to 0.6 … 0.12;
 * - `rotation`: 10° … 50° counter-clockwise;
 * - `pixelation`: means of blocks of 2 … 6 pixels.
 *
 * @param severity 1 to 5; 3 by default
 * @param seed of the noise; 0 by default
 */
export function corrupt(data: Dataset, kind: Corruption, severity = 3, seed = 0): Dataset {
  checkDataset(data)
  checkChoice(kind, 'kind', corruptions)
  checkInteger(seed, 'seed', 0)
  const level = checkInteger(severity, 'severity', 1, 5) - 1
  if (kind === 'rotation') return rotateImages(data, angles[level] as number)
  const [height, width] = extents(data.shape)
  let [low, high] = [Infinity, -Infinity]
  for (const x of data.inputs) {
    if (x < low) low = x
    if (x > high) high = x
  }
  if (kind === 'noise') {
    const g = new Generator(seed)
    const deviation = (deviations[level] as number) * (high - low)
    return map(data, (x) => Math.min(high, Math.max(low, x + deviation * g.normal())))
  }
  if (kind === 'contrast') {
    const middle = (low + high) / 2
    return map(data, (x) => middle + (contrasts[level] as number) * (x - middle))
  }
  const inputs = new Float32Array(data.inputs.length)
  const size = height * width
  for (let base = 0; base < inputs.length; base += size) {
    const from = data.inputs.subarray(base, base + size)
    const to = inputs.subarray(base, base + size)
    if (kind === 'blur') blur(from, to, height, width, radii[level] as number)
    else pixelate(from, to, height, width, blocks[level] as number)
  }
  return { ...data, inputs }
}

const map = (data: Dataset, f: (x: number) => number): Dataset => ({
  ...data,
  inputs: Float32Array.from(data.inputs, f),
})

function blur(from: Float32Array, to: Float32Array, height: number, width: number, sigma: number) {
  const reach = Math.ceil(3 * sigma)
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)),
  )
  const total = kernel.reduce((a, b) => a + b, 0)
  const clip = (i: number, n: number) => Math.min(n - 1, Math.max(0, i))
  const rows = new Float64Array(from.length)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0
      for (let k = -reach; k <= reach; k++) {
        sum += (kernel[k + reach] as number) * (from[y * width + clip(x + k, width)] as number)
      }
      rows[y * width + x] = sum / total
    }
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0
      for (let k = -reach; k <= reach; k++) {
        sum += (kernel[k + reach] as number) * (rows[clip(y + k, height) * width + x] as number)
      }
      to[y * width + x] = sum / total
    }
  }
}

function pixelate(
  from: Float32Array,
  to: Float32Array,
  height: number,
  width: number,
  block: number,
) {
  for (let top = 0; top < height; top += block) {
    for (let left = 0; left < width; left += block) {
      const [bottom, right] = [Math.min(top + block, height), Math.min(left + block, width)]
      let sum = 0
      for (let y = top; y < bottom; y++)
        for (let x = left; x < right; x++) sum += from[y * width + x] as number
      const mean = sum / ((bottom - top) * (right - left))
      for (let y = top; y < bottom; y++) to.fill(mean, y * width + left, y * width + right)
    }
  }
}
