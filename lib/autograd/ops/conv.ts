/** Convolution and pooling of images [n, channels, height, width], and their gradients. */

import { begin, number, view } from '../../engine/call.js'
import { checkChoice, checkInteger, checkOptions, wrong } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkWideFloat, toTensor } from '../../tensor/interop.js'
import { type Shape, shownShape, sizeOf } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { type Measure, record, tracked } from '../tape.js'
import { add, reluBackward } from './elementwise.js'
import { im2col } from './im2col.js'
import { dense } from './memory.js'
import { fusedActivations, matmul } from './products.js'
import { sum } from './reductions.js'
import { finishInChunks, NotPerSample, rowSamples } from './samples.js'
import { reshape, slice, transpose } from './views.js'

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
  /** What the convolution ends with, without a pass of its own: 'none' (default) or 'relu'. */
  activation?: 'none' | 'relu'
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
      `'images' has shape ${shownShape(x.shape)}, expected [n, channels, height, width]`,
    )
  }
  checkWideFloat(x, 'images')
}

/**
 * A convolution's operands, which must fit each other, and the channels of its result. Kernels are
 * [out, in/groups, …], or [in, out/groups, …] where it is transposed.
 */
function operands(
  images: ArrayLike,
  kernels: ArrayLike,
  offsets: ArrayLike | null,
  groups: number,
  transposed: boolean,
) {
  const x = toTensor(images, 'images')
  const weight = toTensor(kernels, 'kernels')
  const bias = offsets && toTensor(offsets, 'offsets')
  checkImages(x)
  checkInteger(groups, 'groups', 1)
  const [first, second] = weight.shape as [number, number]
  const inputs = transposed ? first : second * groups
  const channels = transposed ? second * groups : first
  if (weight.rank !== 4 || inputs !== x.shape[1] || first % groups !== 0) {
    throw new ShapeError(
      `'kernels' of shape ${shownShape(weight.shape)} in ${groups} groups do not fit 'images' of shape ${shownShape(x.shape)}`,
    )
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== channels)) {
    throw new ShapeError(`'offsets' has shape ${shownShape(bias.shape)}, expected [${channels}]`)
  }
  if (weight.dtype !== x.dtype || (bias && bias.dtype !== x.dtype)) {
    throw new DTypeError(
      `'kernels' has dtype ${weight.dtype}, 'offsets' ${bias?.dtype ?? 'none'}, 'images' ${x.dtype}: they must agree`,
    )
  }
  return { x, weight, bias, channels }
}

const writeWindow = (window: Window) => {
  for (const both of window) for (const value of both) number(value)
}

/**
 * Cross-correlation of images with kernels.
 *
 * @param images x, [n, in, h, w]
 * @param kernels weight, [out, in/groups, kh, kw]
 * @param offsets bias, [out], or null
 */
export function conv2d(
  images: ArrayLike,
  kernels: ArrayLike,
  offsets: ArrayLike | null = null,
  options: Conv2dOptions = {},
): Tensor {
  const {
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    activation = 'none',
  } = checkOptions(options)
  checkChoice(activation, 'activation', ['none', 'relu'])
  const { x, weight, bias, channels } = operands(images, kernels, offsets, groups, false)
  const [, , kh, kw] = weight.shape as [number, number, number, number]
  const window: Window = [
    [kh, kw],
    pair(stride, 'stride', 1),
    pair(padding, 'padding', 0),
    pair(dilation, 'dilation', 1),
  ]
  const geometry = { window, groups, y: outputShape(x, window, channels) }
  return convolve(x, weight, bias, geometry, activation)
}

/** What the three products of a convolution share. */
interface Geometry {
  window: Window
  groups: number
  /** The output's shape. */
  y: Shape
}

function writeProduct(x: Tensor, weight: Tensor, y: Tensor, { window, groups }: Geometry): void {
  for (const image of [x, weight, y]) view(image)
  writeWindow(window)
  number(groups)
}

// The convolution and its two gradients are bilinear, and the gradients of each are the other two.

function convolve(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: Geometry,
  activation: 'none' | 'relu' = 'none',
): Tensor {
  const input = dense(x)
  const kernel = dense(weight)
  const plainBias = bias ? dense(bias) : null
  const y = Tensor.empty(geometry.y, x.dtype, x.device)
  begin()
  if (plainBias) view(plainBias)
  writeProduct(input, kernel, y, geometry)
  number(fusedActivations.indexOf(activation))
  native.conv2d(plainBias ? plainBias.buffer : null, input.buffer, kernel.buffer, y.buffer)
  if (input !== x) input.dispose()
  if (!tracked(x, weight, bias)) return y
  const before = (g: Tensor) => (activation === 'none' ? g : reluBackward(g, y, true))
  const rule = (g: Tensor) => {
    const inner = before(g)
    return [
      x.requiresGrad ? towardsInput(weight, inner, x.shape, geometry) : null,
      weight.requiresGrad ? towardsWeight(x, inner, weight.shape, geometry) : null,
      bias?.requiresGrad ? sum(inner, [0, 2, 3]) : null,
    ]
  }
  return record(y, [x, weight, bias], rule, (g, samples, i) => {
    if (i === 0) return null
    if (i === 2) return (measure) => rowSamples(sum(before(g), [2, 3]), samples, measure)
    return kernelSamples(x, before(g), samples, weight.shape, geometry)
  })
}

/** The weight's gradients sample by sample; images of the convolution's input and of its output. */
function kernelSamples(x: Tensor, g: Tensor, samples: number, shape: Shape, geometry: Geometry) {
  const n = x.shape[0] as number
  if (n !== samples) throw new NotPerSample(`${n} images are not ${samples} samples`)
  return (measure: Measure) =>
    finishInChunks(samples, sizeOf(shape), measure, (begin, end) =>
      imageSamples(slice(x, 0, begin, end), slice(g, 0, begin, end), shape, geometry),
    )
}

/** The weight's gradient of every image: products of its windows and the gradient's pixels. */
function imageSamples(x: Tensor, g: Tensor, shape: Shape, { window, groups }: Geometry): Tensor {
  const [kernel, stride, padding, dilation] = window as readonly [Pair, Pair, Pair, Pair]
  const columns = im2col(x, kernel, { stride, padding, dilation })
  const [n, height, length] = columns.shape as [number, number, number]
  const out = shape[0] as number
  const products = matmul(
    reshape(g, [n, groups, out / groups, length]),
    transpose(reshape(columns, [n, groups, height / groups, length])),
  )
  return reshape(products, [n, ...shape])
}

function towardsInput(weight: Tensor, g: Tensor, shape: Shape, geometry: Geometry): Tensor {
  const kernel = dense(weight)
  const dy = dense(g)
  const dx = Tensor.empty(shape, g.dtype, g.device)
  begin()
  writeProduct(dx, kernel, dy, geometry)
  native.conv2dBackwardData(dx.buffer, kernel.buffer, dy.buffer)
  if (!tracked(weight, g)) return dx
  const rule = (h: Tensor) => [
    weight.requiresGrad ? towardsWeight(h, g, weight.shape, geometry) : null,
    g.requiresGrad ? convolve(h, weight, null, geometry) : null,
  ]
  // As an operation of its own (convTranspose2d) it has the samples in g.
  return record(dx, [weight, g], rule, (h, samples, i) =>
    i === 0 ? kernelSamples(h, g, samples, weight.shape, geometry) : null,
  )
}

function towardsWeight(x: Tensor, g: Tensor, shape: Shape, geometry: Geometry): Tensor {
  const input = dense(x)
  const dy = dense(g)
  const dw = Tensor.empty(shape, g.dtype, g.device)
  begin()
  writeProduct(input, dw, dy, geometry)
  native.conv2dBackwardWeight(input.buffer, dw.buffer, dy.buffer)
  if (!tracked(x, g)) return dw
  return record(dw, [x, g], (h) => [
    x.requiresGrad ? towardsInput(h, g, x.shape, geometry) : null,
    g.requiresGrad ? convolve(x, h, null, geometry) : null,
  ])
}

/** Options of convTranspose2d. */
export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Added to the output's extent below and to the right, less than the stride or dilation; 0. */
  outputPadding?: Pair
}

/**
 * The transpose of `conv2d` (the gradient of its input), which spreads every pixel over a window:
 * output extent = (in − 1)·stride − 2·padding + dilation·(kernel − 1) + outputPadding + 1.
 *
 * @param images x, [n, in, h, w]
 * @param kernels weight, [in, out/groups, kh, kw]
 * @param offsets bias, [out], or null
 */
export function convTranspose2d(
  images: ArrayLike,
  kernels: ArrayLike,
  offsets: ArrayLike | null = null,
  options: ConvTranspose2dOptions = {},
): Tensor {
  const {
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    outputPadding = 0,
  } = checkOptions(options)
  const { x, weight, bias, channels } = operands(images, kernels, offsets, groups, true)
  const steps = pair(stride, 'stride', 1)
  const edges = pair(padding, 'padding', 0)
  const spread = pair(dilation, 'dilation', 1)
  const extra = pair(outputPadding, 'outputPadding', 0)
  const kernel = [weight.shape[2] as number, weight.shape[3] as number] as const
  const extents = ([0, 1] as const).map((i) => {
    if (extra[i] >= Math.max(steps[i], spread[i])) {
      wrong('outputPadding', 'less than the stride or the dilation', outputPadding)
    }
    const extent =
      ((x.shape[2 + i] as number) - 1) * steps[i] -
      2 * edges[i] +
      spread[i] * (kernel[i] - 1) +
      extra[i] +
      1
    if (extent < 1) throw new ShapeError(`the output would have an extent of ${extent}`)
    return extent
  })
  const geometry = { window: [kernel, steps, edges, spread], groups, y: x.shape }
  const y = towardsInput(weight, x, [x.shape[0] as number, channels, ...extents], geometry)
  return bias ? add(y, reshape(bias, [channels, 1, 1])) : y
}

/** Checks a pooling layer's window. */
export function poolWindow(kernel: Pair, options: WindowOptions, name = 'kernel'): Window {
  const { stride, padding = 0 } = checkOptions(options)
  const size = pair(kernel, name, 1)
  return [size, pair(stride ?? size, 'stride', 1), pair(padding, 'padding', 0), [1, 1]]
}

/** The largest of each window; the gradient goes to the first among equals. */
export function maxPool2d(
  images: ArrayLike,
  kernel: Pair,
  options: Omit<WindowOptions, 'dilation'> = {},
): Tensor {
  const x = toTensor(images, 'images')
  checkImages(x)
  const window = poolWindow(kernel, options)
  const input = dense(x)
  const y = Tensor.empty(outputShape(x, window, x.shape[1] as number), x.dtype, x.device)
  const indices = Tensor.empty(y.shape, 'int32', x.device)
  begin()
  view(input)
  view(y)
  writeWindow(window)
  view(indices)
  native.maxPool(input.buffer, y.buffer, indices.buffer)
  if (!tracked(x)) {
    indices.dispose()
    return y
  }
  return record(y, [x], (g) => [spreadMaxima(g, indices, x.shape, window)], null, [indices])
}

/** Puts every entry of `g` where its window's maximum stood. */
function spreadMaxima(g: Tensor, indices: Tensor, shape: Shape, window: Window): Tensor {
  const dy = dense(g)
  const dx = Tensor.empty(shape, g.dtype, g.device)
  begin()
  view(dx)
  view(dy)
  writeWindow(window)
  view(indices)
  native.maxPoolBackward(dx.buffer, dy.buffer, indices.buffer)
  if (!tracked(g)) return dx
  return record(dx, [g], (h) => [takeMaxima(h, indices, window)])
}

/** The entries of `h` where the maxima stood: only gradients of gradients need this. */
function takeMaxima(h: Tensor, indices: Tensor, window: Window): Tensor {
  const source = dense(h)
  const y = Tensor.empty(indices.shape, h.dtype)
  const pixels = (h.shape[2] as number) * (h.shape[3] as number)
  const perPlane = (y.shape[2] as number) * (y.shape[3] as number)
  for (let i = 0; i < y.size; i++) {
    const at = Math.floor(i / perPlane) * pixels + (indices.array[i] as number)
    y.array[i] = source.array[source.offset + at] as number
  }
  return tracked(h) ? record(y, [h], (g) => [spreadMaxima(g, indices, h.shape, window)]) : y
}

/** The mean of each window, padding counted as zeros. */
export function avgPool2d(
  images: ArrayLike,
  kernel: Pair,
  options: Omit<WindowOptions, 'dilation'> = {},
): Tensor {
  const x = toTensor(images, 'images')
  checkImages(x)
  return windowMeans(x, poolWindow(kernel, options))
}

function windowMeans(x: Tensor, window: Window): Tensor {
  const input = dense(x)
  const y = Tensor.empty(outputShape(x, window, x.shape[1] as number), x.dtype, x.device)
  begin()
  view(input)
  view(y)
  writeWindow(window)
  native.avgPool(input.buffer, y.buffer)
  if (!tracked(x)) return y
  return record(y, [x], (g) => [spreadMeans(g, x.shape, window)])
}

function spreadMeans(g: Tensor, shape: Shape, window: Window): Tensor {
  const dy = dense(g)
  const dx = Tensor.empty(shape, g.dtype, g.device)
  begin()
  view(dx)
  view(dy)
  writeWindow(window)
  native.avgPoolBackward(dx.buffer, dy.buffer)
  return tracked(g) ? record(dx, [g], (h) => [windowMeans(h, window)]) : dx
}
