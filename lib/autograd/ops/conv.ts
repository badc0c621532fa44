/** Convolution and pooling of images [n, channels, height, width], and their gradients. */

import { begin, number, view } from '../../engine/call.js'
import { checkInteger, wrong } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type Shape, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { contiguous } from './memory.js'
import { sum } from './reductions.js'

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number]

/** How a window slides over an image. */
export interface WindowOptions {
  /** 1 by default for convolutions, the kernel for pooling. */
  stride?: Pair
  /** 0 by default. */
  padding?: Pair
  /** 1 by default. */
  dilation?: Pair
}

/** Options of conv2d. */
export interface Conv2dOptions extends WindowOptions {
  /** Channels are split into this many independent groups; 1 by default. */
  groups?: number
}

/** Checks a pair; names it in errors. */
export function pair(value: Pair, name: string, low: number): readonly [number, number] {
  const both = typeof value === 'number' ? ([value, value] as const) : value
  if (!Array.isArray(both) || both.length !== 2) wrong(name, 'a number or a pair', value)
  for (const entry of both) checkInteger(entry, name, low, 2 ** 31)
  return both as readonly [number, number]
}

type Window = readonly (readonly [number, number])[] // kernel, stride, padding, dilation

/** The output's extents. */
function outputShape(
  x: Tensor,
  [kernel, stride, padding, dilation]: Window,
  channels: number,
): Shape {
  const extents = [0, 1].map((i) => {
    const reach = (dilation?.[i] as number) * ((kernel?.[i] as number) - 1) + 1
    const room = (x.shape[2 + i] as number) + 2 * (padding?.[i] as number) - reach
    if (room < 0) {
      throw new ShapeError(
        `a window of ${reach} does not fit an image of shape ${shownShape(x.shape)}`,
      )
    }
    return Math.floor(room / (stride?.[i] as number)) + 1
  })
  return [x.shape[0] as number, channels, ...extents]
}

function checkImages(x: Tensor): void {
  if (x.rank !== 4) {
    throw new ShapeError(
      `'x' has shape ${shownShape(x.shape)}, expected [n, channels, height, width]`,
    )
  }
  if (x.dtype !== 'float32' && x.dtype !== 'float64') {
    throw new DTypeError(`'x' has dtype ${x.dtype}, expected float32 or float64`)
  }
}

const writeWindow = (window: Window) => {
  for (const both of window) for (const value of both) number(value)
}

/**
 * Cross-correlation of images with kernels.
 *
 * @param x [n, in, h, w]
 * @param weight [out, in/groups, kh, kw]
 * @param bias [out] or null
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  { stride = 1, padding = 0, dilation = 1, groups = 1 }: Conv2dOptions = {},
): Tensor {
  checkImages(x)
  checkInteger(groups, 'groups', 1)
  const [out, perGroup, kh, kw] = weight.shape as [number, number, number, number]
  if (weight.rank !== 4 || perGroup * groups !== x.shape[1] || out % groups !== 0) {
    throw new ShapeError(
      `a weight of shape ${shownShape(weight.shape)} in ${groups} groups does not fit an input of shape ${shownShape(x.shape)}`,
    )
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== out)) {
    throw new ShapeError(`'bias' has shape ${shownShape(bias.shape)}, expected [${out}]`)
  }
  if (weight.dtype !== x.dtype || (bias && bias.dtype !== x.dtype)) {
    throw new DTypeError(`'weight' has dtype ${weight.dtype} and 'x' ${x.dtype}: they must agree`)
  }
  const window: Window = [
    [kh, kw],
    pair(stride, 'stride', 1),
    pair(padding, 'padding', 0),
    pair(dilation, 'dilation', 1),
  ]
  const input = contiguous(x.detach())
  const kernel = contiguous(weight.detach())
  const y = Tensor.empty(outputShape(x, window, out), x.dtype)
  const plainBias = bias ? contiguous(bias.detach()) : null
  const write = (...images: Tensor[]) => {
    for (const image of images) view(image)
    writeWindow(window)
    number(groups)
  }
  begin()
  if (plainBias) view(plainBias)
  write(input, kernel, y)
  native.conv2d(plainBias ? plainBias.array : null, input.array, kernel.array, y.array)
  if (!tracked(x, weight, bias)) return y
  return record(y, [x, weight, bias], (g) => {
    const dy = contiguous(g)
    let dx: Tensor | null = null
    if (x.requiresGrad) {
      dx = Tensor.empty(x.shape, x.dtype)
      begin()
      write(dx, kernel, dy)
      native.conv2dBackwardData(dx.array, kernel.array, dy.array)
    }
    let dw: Tensor | null = null
    if (weight.requiresGrad) {
      dw = Tensor.empty(weight.shape, x.dtype)
      begin()
      write(input, dw, dy)
      native.conv2dBackwardWeight(input.array, dw.array, dy.array)
    }
    return [dx, dw, bias?.requiresGrad ? sum(dy, [0, 2, 3]) : null]
  })
}

const poolWindow = (kernel: Pair, { stride, padding = 0 }: WindowOptions): Window => [
  pair(kernel, 'kernel', 1),
  pair(stride ?? kernel, 'stride', 1),
  pair(padding, 'padding', 0),
  [1, 1],
]

/** The largest of each window; the gradient goes to the first among equals. */
export function maxPool2d(
  x: Tensor,
  kernel: Pair,
  options: Omit<WindowOptions, 'dilation'> = {},
): Tensor {
  checkImages(x)
  const window = poolWindow(kernel, options)
  const input = contiguous(x.detach())
  const y = Tensor.empty(outputShape(x, window, x.shape[1] as number), x.dtype)
  const indices = Tensor.empty(y.shape, 'int32')
  begin()
  view(input)
  view(y)
  writeWindow(window)
  view(indices)
  native.maxPool(input.array, y.array, indices.array)
  if (!tracked(x)) return y
  return record(y, [x], (g) => {
    const dy = contiguous(g)
    const dx = Tensor.empty(x.shape, x.dtype)
    begin()
    view(dx)
    view(dy)
    writeWindow(window)
    view(indices)
    native.maxPoolBackward(dx.array, dy.array, indices.array)
    return [dx]
  })
}

/** The mean of each window, padding counted as zeros. */
export function avgPool2d(
  x: Tensor,
  kernel: Pair,
  options: Omit<WindowOptions, 'dilation'> = {},
): Tensor {
  checkImages(x)
  const window = poolWindow(kernel, options)
  const input = contiguous(x.detach())
  const y = Tensor.empty(outputShape(x, window, x.shape[1] as number), x.dtype)
  begin()
  view(input)
  view(y)
  writeWindow(window)
  native.avgPool(input.array, y.array)
  if (!tracked(x)) return y
  return record(y, [x], (g) => {
    const dy = contiguous(g)
    const dx = Tensor.empty(x.shape, x.dtype)
    begin()
    view(dx)
    view(dy)
    writeWindow(window)
    native.avgPoolBackward(dx.array, dy.array)
    return [dx]
  })
}
