/** Windows of images as columns, and back: compositions of padding and strided views. */

import { checkOptions } from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { type Shape, shownShape } from '../../tensor/shape.js'
import type { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { type Pair, pair, type WindowOptions } from './conv.js'
import { add } from './elementwise.js'
import { copyInto, filled } from './memory.js'
import { pad } from './rearrange.js'
import { reshape, select, slice, viewOf } from './views.js'

type Two = readonly [number, number]

interface Geometry {
  kernel: Two
  stride: Two
  padding: Two
  dilation: Two
  /** Windows along each direction. */
  count: Two
}

function geometryOf(image: Shape, kernelSize: Pair, options: WindowOptions): Geometry {
  const kernel = pair(kernelSize, 'kernelSize', 1)
  const { stride: steps = 1, padding: edges = 0, dilation: spread = 1 } = checkOptions(options)
  const stride = pair(steps, 'stride', 1)
  const padding = pair(edges, 'padding', 0)
  const dilation = pair(spread, 'dilation', 1)
  const count = [0, 1].map((i) => {
    const reach = (dilation[i] as number) * ((kernel[i] as number) - 1) + 1
    const room = (image[i] as number) + 2 * (padding[i] as number) - reach
    if (room < 0) {
      throw new ShapeError(`a window of ${reach} does not fit an image of ${shownShape(image)}`)
    }
    return Math.floor(room / (stride[i] as number)) + 1
  }) as [number, number]
  return { kernel, stride, padding, dilation, count }
}

/** [n, c, h, w] → [n, c, kh, kw, rows, columns] over the same memory, not recorded. */
function windows(x: Tensor, { kernel, stride, dilation, count }: Geometry): Tensor {
  const [n, c, h, w] = x.strides as [number, number, number, number]
  const [batch, channels] = x.shape as [number, number]
  return viewOf(
    x,
    [batch, channels, ...kernel, ...count],
    [n, c, h * dilation[0], w * dilation[1], h * stride[0], w * stride[1]],
  )
}

/**
 * Every window of images as a column (torch.nn.functional.unfold).
 *
 * @param images [n, channels, h, w]
 * @returns [n, channels·kh·kw, windows]
 */
export function im2col(images: ArrayLike, kernelSize: Pair, options: WindowOptions = {}): Tensor {
  const x = toTensor(images, 'images')
  if (x.rank !== 4) {
    throw new ShapeError(`'images' has shape ${shownShape(x.shape)}, expected [n, channels, h, w]`)
  }
  const geometry = geometryOf(x.shape.slice(2), kernelSize, options)
  const [v, h] = geometry.padding
  const padded = pad(x, [h, h, v, v])
  const [kh, kw] = geometry.kernel
  const [rows, columns] = geometry.count
  const view = windowsOf(padded, geometry)
  return reshape(view, [x.shape[0] as number, (x.shape[1] as number) * kh * kw, rows * columns])
}

function windowsOf(x: Tensor, geometry: Geometry): Tensor {
  const y = windows(x, geometry)
  return tracked(x) ? record(y, [x], (g) => [addWindows(g, x.shape, geometry)]) : y
}

/** The adjoint of windows(): every window is added where it came from, one kernel entry at a time. */
function addWindows(g: Tensor, shape: Shape, geometry: Geometry): Tensor {
  const { kernel, stride, dilation, count } = geometry
  const out = filled(shape, 0, g)
  const source = g.detach()
  for (let i = 0; i < kernel[0]; i++) {
    for (let j = 0; j < kernel[1]; j++) {
      const [top, left] = [i * dilation[0], j * dilation[1]]
      const rows = slice(out, 2, top, top + (count[0] - 1) * stride[0] + 1, stride[0])
      const place = slice(rows, 3, left, left + (count[1] - 1) * stride[1] + 1, stride[1])
      copyInto(place, add(place, select(select(source, 2, i), 2, j)))
    }
  }
  return tracked(g) ? record(out, [g], (h) => [windowsOf(h, geometry)]) : out
}

/**
 * Adds columns back into images where im2col() took them from (torch.nn.functional.fold).
 *
 * @param columns [n, channels·kh·kw, windows]
 * @param size of the images, [h, w]
 * @returns [n, channels, h, w]
 */
export function col2im(
  columns: ArrayLike,
  size: Pair,
  kernelSize: Pair,
  options: WindowOptions = {},
): Tensor {
  const x = toTensor(columns, 'columns')
  const image = pair(size, 'size', 1)
  const geometry = geometryOf(image, kernelSize, options)
  const [kh, kw] = geometry.kernel
  const [rows, across] = geometry.count
  const [n, height, length] = x.shape as [number, number, number]
  if (x.rank !== 3 || height % (kh * kw) !== 0 || length !== rows * across) {
    throw new ShapeError(
      `'columns' has shape ${shownShape(x.shape)}, expected [n, channels·${kh * kw}, ${rows * across}]`,
    )
  }
  const channels = height / (kh * kw)
  const [v, h] = geometry.padding
  const padded = [n, channels, image[0] + 2 * v, image[1] + 2 * h]
  const apart = reshape(x, [n, channels, kh, kw, rows, across])
  return pad(addWindows(apart, padded, geometry), [-h, -h, -v, -v])
}
