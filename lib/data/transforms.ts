/** Changes of image batches [n, …, h, w] (or flat squares [n, h·w]) for a DataLoader. */

import { pad, reshape, slice, sub } from '../autograd/ops/index.js'
import { checkInteger, checkNumber } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { Generator } from '../random/generator.js'
import { toTensor } from '../tensor/interop.js'
import { checkShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import type { Batch } from './dataset.js'
import type { Transform } from './loader.js'

/** Height and width of a batch's images. */
function sides(x: Tensor): [height: number, width: number] {
  if (x.rank >= 3) return x.shape.slice(-2) as [number, number]
  const side = Math.sqrt(x.shape[1] ?? 0.5)
  if (x.rank !== 2 || !Number.isInteger(side)) {
    throw new ShapeError(`a batch of shape ${shownShape(x.shape)} holds no images`)
  }
  return [side, side]
}

/** A transform of the inputs alone. */
const onInputs =
  (change: (x: Tensor, generator: Generator) => Tensor): Transform<Batch> =>
  (batch, generator) => ({
    ...batch,
    inputs: change(toTensor(batch?.inputs, 'batch.inputs'), generator),
  })

/** (x − mean)/deviation. */
export function normalize(mean: number, deviation: number): Transform<Batch> {
  checkNumber(mean, 'mean')
  checkNumber(deviation, 'deviation', Number.MIN_VALUE)
  return onInputs((x) => sub(x, mean).mul(1 / deviation))
}

/** The inputs in another shape of as many elements: [1, 28, 28] for a conv net, say. */
export function shaped(...shape: number[]): Transform<Batch> {
  checkShape(shape)
  return onInputs((x) => reshape(x, [x.shape[0] as number, ...shape]))
}

/** Moves every image by up to `most` pixels each way; what enters has `value`. */
export function randomShift(most: number, value = 0): Transform<Batch> {
  checkInteger(most, 'most', 0)
  checkNumber(value, 'value')
  return onInputs((x, generator) => {
    const [h, w] = sides(x)
    const n = x.shape[0] as number
    const wide = pad(reshape(x, [n, -1, h, w]), [most, most, most, most], { value })
    const out = Tensor.empty([n, wide.shape[1] as number, h, w], x.dtype)
    for (let i = 0; i < n; i++) {
      const [dy, dx] = [generator.integer(2 * most + 1), generator.integer(2 * most + 1)]
      const window = slice(slice(slice(wide, 0, i, i + 1), 2, dy, dy + h), 3, dx, dx + w)
      slice(out, 0, i, i + 1).copy_(window)
    }
    return reshape(out, x.shape)
  })
}

/** Mirrors every image, left to right, with a probability. */
export function randomFlip(probability = 0.5): Transform<Batch> {
  checkNumber(probability, 'probability', 0, 1)
  return onInputs((x, generator) => {
    const [h, w] = sides(x)
    const n = x.shape[0] as number
    const images = reshape(x, [n, -1, h, w])
    const out = images.clone()
    for (let i = 0; i < n; i++) {
      if (generator.uniform() >= probability) continue
      slice(out, 0, i, i + 1).copy_(slice(images, 0, i, i + 1).flip(3))
    }
    return reshape(out, x.shape)
  })
}

/** Puts the entries of every input in one fixed order, drawn from a seed (permuted MNIST). */
export function permutePixels(seed: number): Transform<Batch> {
  checkInteger(seed, 'seed', 0)
  let order: Int32Array | null = null
  return onInputs((x) => {
    const flat = reshape(x, [x.shape[0] as number, -1])
    const width = flat.shape[1] as number
    if (order?.length !== width) order = new Generator(seed).permutation(width)
    const picks = Tensor.from({ data: order, shape: [width] })
    return reshape(flat.indexSelect(picks, 1), x.shape)
  })
}

/** Adds normal noise. */
export function gaussianNoise(deviation: number): Transform<Batch> {
  checkNumber(deviation, 'deviation', 0)
  return onInputs((x, generator) => {
    const noise = generator.fill(Tensor.empty(x.shape, x.dtype), 'normal', 0, deviation)
    return x.add(noise)
  })
}
