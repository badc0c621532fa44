/** Turning images about their middle. */

import type { Dataset } from '../data/dataset.js'
import { ShapeError } from '../engine/errors.js'

/** Height and width of images given as [h, w], [1, h, w] or a flat square. */
function extents(shape: readonly number[]): [height: number, width: number] {
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
  const [height, width] = extents(data.shape)
  const size = height * width
  const cos = Math.cos((degrees * Math.PI) / 180)
  const sin = Math.sin((degrees * Math.PI) / 180)
  const background = data.inputs.reduce((a, b) => Math.min(a, b), Infinity)
  // Four neighbours and their weights an output pixel, the same for all images.
  const sources = new Int32Array(size * 4).fill(-1)
  const weights = new Float64Array(size * 4)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const dx = x - (width - 1) / 2
      const dy = y - (height - 1) / 2
      const sx = cos * dx - sin * dy + (width - 1) / 2
      const sy = sin * dx + cos * dy + (height - 1) / 2
      const left = Math.floor(sx)
      const top = Math.floor(sy)
      for (let corner = 0; corner < 4; corner++) {
        const cx = left + (corner & 1)
        const cy = top + (corner >> 1)
        const at = (y * width + x) * 4 + corner
        weights[at] = (1 - Math.abs(sx - cx)) * (1 - Math.abs(sy - cy))
        if (cx >= 0 && cx < width && cy >= 0 && cy < height) sources[at] = cy * width + cx
      }
    }
  }
  const inputs = new Float32Array(data.inputs.length)
  for (let base = 0; base < inputs.length; base += size) {
    for (let i = 0; i < size; i++) {
      let sum = 0
      for (let at = i * 4; at < i * 4 + 4; at++) {
        const source = sources[at] as number
        const value = source < 0 ? background : (data.inputs[base + source] as number)
        sum += (weights[at] as number) * value
      }
      inputs[base + i] = sum
    }
  }
  return { ...data, inputs }
}
