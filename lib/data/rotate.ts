/** Turning images about their middle. */

import { checkFinite } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { scope, Tensor } from '../tensor/index.js'
import { gather } from '../tensor/indexing.js'
import { checkDataset, type Dataset } from './dataset.js'

/** Height and width of images given as [h, w], [1, h, w] or a flat square. */
export function extents(shape: readonly number[]): [height: number, width: number] {
  const size = shape.reduce((a, b) => a * b, 1)
  const side = Math.sqrt(size)
  if (shape.length === 1 && Number.isInteger(side)) return [side, side]
  const [height, width] = shape.slice(-2) as [number, number]
  if (shape.length > 1 && height * width === size) return [height, width]
  throw new ShapeError(
    `inputs of shape [${shape.join(', ')}] are no images of one channel: expected [h, w], [1, h, w] or a square`,
  )
}

/**
 * All images turned counter-clockwise by `degrees`, with bilinear interpolation. What comes from
 * outside has the smallest value of the set, the background.
 */
export function rotateImages(data: Dataset, degrees: number): Dataset {
  checkFinite(degrees, 'degrees')
  const [height, width] = extents(checkDataset(data).shape)
  const size = height * width
  const cos = Math.cos((degrees * Math.PI) / 180)
  const sin = Math.sin((degrees * Math.PI) / 180)
  const background = data.inputs.reduce((a, b) => Math.min(a, b), Infinity)
  // Four neighbours of every output pixel and their weights, the same for all images; neighbours
  // outside are gathered from anywhere with weight 0, and the background is added for them.
  const corners = Array.from({ length: 4 }, () => ({
    index: new Int32Array(size),
    weight: new Float32Array(size),
  }))
  const outside = new Float32Array(size)
  for (let i = 0; i < size; i++) {
    const dx = (i % width) - (width - 1) / 2
    const dy = Math.floor(i / width) - (height - 1) / 2
    const x = cos * dx - sin * dy + (width - 1) / 2
    const y = sin * dx + cos * dy + (height - 1) / 2
    corners.forEach(({ index, weight }, corner) => {
      const cx = Math.floor(x) + (corner & 1)
      const cy = Math.floor(y) + (corner >> 1)
      const share = (1 - Math.abs(x - cx)) * (1 - Math.abs(y - cy))
      if (cx >= 0 && cx < width && cy >= 0 && cy < height) {
        index[i] = cy * width + cx
        weight[i] = share
      } else {
        outside[i] = (outside[i] as number) + share * background
      }
    })
  }
  const vector = (values: Float32Array | Int32Array) => Tensor.from({ data: values, shape: [size] })
  const images = Tensor.from({ data: data.inputs, shape: [data.inputs.length / size, size] })
  const turned = scope(() =>
    corners.reduce(
      (sum, { index, weight }) => sum.add(gather(images, 1, vector(index)).mul(vector(weight))),
      vector(outside),
    ),
  )
  return { ...data, inputs: turned.data as Float32Array }
}
