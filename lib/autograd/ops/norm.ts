/** Layer norm, RMS norm and batch norm: fused kernels forward and backward. */

import { begin, number, viewAs } from '../../engine/call.js'
import { checkNumber, checkOptions } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkWideFloat, toTensor } from '../../tensor/interop.js'
import {
  checkShape,
  type Shape,
  sameShape,
  shownShape,
  sizeOf,
  stridesOf,
} from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { isRecording, record, type SampleRule, tracked } from '../tape.js'
import { add, mul, rsqrt, square, sub } from './elementwise.js'
import { contiguous, dense } from './memory.js'
import { mean as meanOf, sum } from './reductions.js'
import { NotPerSample, rowSamples } from './samples.js'
import { reshape } from './views.js'

/** A contiguous tensor as the kernels see it; null stands for an argument that is missing. */
function write(x: Tensor | null, shape: Shape): void {
  if (x) viewAs(x, shape, stridesOf(shape))
}
const arrayOf = (x: Tensor | null) => (x ? x.buffer : null)

/** A weight or bias of a norm: the wanted shape and x's dtype. */
function affine(value: ArrayLike | null, name: string, x: Tensor, shape: Shape): Tensor | null {
  if (value === null) return null
  const tensor = toTensor(value, name)
  if (!sameShape(tensor.shape, shape)) {
    throw new ShapeError(
      `'${name}' has shape ${shownShape(tensor.shape)}, expected ${shownShape(shape)}`,
    )
  }
  if (tensor.dtype !== x.dtype) {
    throw new DTypeError(
      `'${name}' has dtype ${tensor.dtype}, the input ${x.dtype}: they must agree`,
    )
  }
  return tensor
}

/** The last axes' shape, checked against x. */
function trailing(x: Tensor, weight: ArrayLike | null, shape: Shape | undefined): Shape {
  checkWideFloat(x, 'input')
  const wanted = shape
    ? checkShape(shape)
    : weight
      ? toTensor(weight, 'weights').shape
      : x.shape.slice(-1)
  if (wanted.length === 0 || !sameShape(x.shape.slice(x.rank - wanted.length), wanted)) {
    throw new ShapeError(
      `the last axes of 'input' of shape ${shownShape(x.shape)} are not the 'shape' ${shownShape(wanted)}`,
    )
  }
  return wanted
}

/** What a backward call reads, and whose gradients it gives. */
interface Operands {
  x: Tensor
  weight: Tensor | null
  bias: Tensor | null
  /** x and the weight, contiguous. */
  input: Tensor
  w: Tensor | null
  mean: Tensor | null
  spread: Tensor
  /** x's shape for the kernel. */
  matrix: Shape
}

/** The fused chain rule; `writeSaved` writes the forward's arguments. */
function backward(
  kernel: 'rowNormBackward' | 'batchNormBackward',
  { x, weight, bias, input, w, mean, spread, matrix }: Operands,
  g: Tensor,
  writeSaved: () => void,
): (Tensor | null)[] {
  const dy = dense(g)
  const slopes = [x, weight, bias].map((t) =>
    t?.requiresGrad ? Tensor.empty(t.shape, t.dtype, t.device) : null,
  )
  const [dx, dweight, dbias] = slopes as [Tensor | null, Tensor | null, Tensor | null]
  writeSaved()
  write(dy, matrix)
  write(dx, matrix)
  for (const t of [dweight, dbias]) if (t) write(t, [t.size])
  const saved = [input.buffer, arrayOf(w), null, arrayOf(mean), spread.buffer]
  native[kernel](...saved, dy.buffer, arrayOf(dx), arrayOf(dweight), arrayOf(dbias))
  return slopes
}

interface RowNorm {
  x: Tensor
  weight: Tensor | null
  bias: Tensor | null
  /** Of the weight. */
  shape: Shape
  eps: number
  centered: boolean
}

function normRows(options: RowNorm): Tensor {
  const { x, weight, bias, shape, eps, centered } = options
  checkNumber(eps, 'eps', 0)
  const width = sizeOf(shape)
  const count = width === 0 ? 0 : x.size / width
  const matrix = [count, width]
  const input = dense(x)
  const w = weight && dense(weight)
  const b = bias && dense(bias)
  const y = Tensor.empty(x.shape, x.dtype, x.device)
  const mean = centered ? Tensor.empty([count], x.dtype, x.device) : null
  const rstd = Tensor.empty([count], x.dtype, x.device)
  const writeAll = (out: Tensor | null, offset: Tensor | null) => {
    begin()
    write(input, matrix)
    write(w, [width])
    write(offset, [width])
    write(out, matrix)
    write(mean, [count])
    write(rstd, [count])
    number(eps)
  }
  writeAll(y, b)
  native.rowNorm(input.buffer, arrayOf(w), arrayOf(b), y.buffer, arrayOf(mean), rstd.buffer)
  if (!tracked(x, weight, bias)) {
    if (input !== x) input.dispose()
    return y
  }
  const operands: Operands = { x, weight, bias, input, w, mean, spread: rstd, matrix }
  const rule = (g: Tensor) => {
    if (isRecording()) return rowNormSlopes(options, g)
    return backward('rowNormBackward', operands, g, () => writeAll(null, null))
  }
  const samples: SampleRule = (g, count, i) => {
    if (i === 0) return null
    return (measure) => {
      const by = i === 1 ? mul(g, rowNormal(options).normal) : g
      return rowSamples(reshape(by, [-1, ...shape]), count, measure)
    }
  }
  return record(y, [x, weight, bias], rule, samples, [
    rstd,
    ...(mean ? [mean] : []),
    ...(input === x ? [] : [input]),
  ])
}

const lastAxes = ({ x, shape }: RowNorm) => shape.map((_, i) => x.rank - shape.length + i)

/** The rows before weight and bias, and what they were divided by. */
function rowNormal(options: RowNorm) {
  const { x, eps, centered } = options
  const axes = lastAxes(options)
  const centre = centered ? sub(x, meanOf(x, axes, true)) : x
  const rstd = rsqrt(add(meanOf(square(centre), axes, true), eps))
  return { normal: mul(centre, rstd), rstd }
}

/** The chain rule in differentiable operations, for gradients of gradients; norm.h has the formula. */
function rowNormSlopes(options: RowNorm, g: Tensor) {
  const { x, weight, bias, centered } = options
  const axes = lastAxes(options)
  const others = x.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  const { normal, rstd } = rowNormal(options)
  const h = weight ? mul(g, weight) : g
  const shifted = centered ? sub(h, meanOf(h, axes, true)) : h
  const total = (t: Tensor) => (others.length > 0 ? sum(t, others) : t)
  return [
    x.requiresGrad
      ? mul(rstd, sub(shifted, mul(normal, meanOf(mul(h, normal), axes, true))))
      : null,
    weight?.requiresGrad ? total(mul(g, normal)) : null,
    bias?.requiresGrad ? total(g) : null,
  ]
}

/** Options of layerNorm and rmsNorm. */
export interface RowNormOptions {
  /** The last axes, over which the statistics go: the weight's shape by default, else the last axis. */
  shape?: Shape
  /** Added to the variance (layer norm, 1e-5 by default) or mean square (RMS norm). */
  eps?: number
}

/**
 * Layer norm (Ba et al. 2016), (x − mean)/√(variance + eps)·weight + bias over the last axes, with
 * the biased variance.
 */
export function layerNorm(
  input: ArrayLike,
  weights: ArrayLike | null = null,
  offsets: ArrayLike | null = null,
  options: RowNormOptions = {},
): Tensor {
  const { shape, eps = 1e-5 } = checkOptions(options)
  const x = toTensor(input, 'input')
  const axes = trailing(x, weights, shape)
  const weight = affine(weights, 'weights', x, axes)
  const bias = affine(offsets, 'offsets', x, axes)
  return normRows({ x, weight, bias, shape: axes, eps, centered: true })
}

/**
 * RMS norm (Zhang & Sennrich 2019), x/√(mean(x²) + eps)·weight over the last axes.
 *
 * `eps` is the dtype's machine epsilon by default, as in PyTorch.
 */
export function rmsNorm(
  input: ArrayLike,
  weights: ArrayLike | null = null,
  options: RowNormOptions = {},
): Tensor {
  const { shape, eps } = checkOptions(options)
  const x = toTensor(input, 'input')
  const axes = trailing(x, weights, shape)
  const weight = affine(weights, 'weights', x, axes)
  const machine = x.dtype === 'float64' ? Number.EPSILON : 2 ** -23
  return normRows({ x, weight, bias: null, shape: axes, eps: eps ?? machine, centered: false })
}

/** The statistics that batchNorm used: the batch's, or those that were given. */
export interface BatchStatistics {
  mean: Tensor
  /** Biased. */
  variance: Tensor
}

/**
 * Batch norm (Ioffe & Szegedy 2015) over every axis but the second, the channels.
 *
 * @param images x, [n, channels, …]
 * @param given the statistics to use; null takes the batch's own, and gradients flow through them.
 *   Given ones are constants.
 * @returns the output and the statistics that were used (not tracked)
 */
export function batchNorm(
  images: ArrayLike,
  weights: ArrayLike | null,
  offsets: ArrayLike | null,
  given: BatchStatistics | null,
  eps = 1e-5,
): { y: Tensor } & BatchStatistics {
  const x = checkWideFloat(toTensor(images, 'images'), 'images')
  if (given !== null) checkOptions(given, 'given')
  checkNumber(eps, 'eps', 0)
  if (x.rank < 2) {
    throw new ShapeError(`'images' has shape ${shownShape(x.shape)}, expected [n, channels, …]`)
  }
  const channels = x.shape[1] as number
  const weight = affine(weights, 'weights', x, [channels])
  const bias = affine(offsets, 'offsets', x, [channels])
  const inner = sizeOf(x.shape.slice(2))
  if (!given && x.size / Math.max(channels, 1) < 2) {
    throw new ShapeError(
      `batch statistics need more than one value a channel, got a shape of ${shownShape(x.shape)}`,
    )
  }
  const volume = [x.shape[0] as number, channels, inner]
  const input = dense(x)
  const w = weight && dense(weight)
  const b = bias && dense(bias)
  const y = Tensor.empty(x.shape, x.dtype, x.device)
  const constant = (t: Tensor, name: string) =>
    contiguous(
      affine(toTensor(t, `given.${name}`).detach(), `given.${name}`, x, [channels]) as Tensor,
    )
  const mean = given ? constant(given.mean, 'mean') : Tensor.empty([channels], x.dtype, x.device)
  const variance = given
    ? constant(given.variance, 'variance')
    : Tensor.empty([channels], x.dtype, x.device)
  const writeAll = (out: Tensor | null, offset: Tensor | null) => {
    begin()
    write(input, volume)
    for (const t of [w, offset]) write(t, [channels])
    write(out, volume)
    for (const t of [mean, variance]) write(t, [channels])
    number(!given)
    number(eps)
  }
  writeAll(y, b)
  native.batchNorm(input.buffer, arrayOf(w), arrayOf(b), y.buffer, mean.buffer, variance.buffer)
  if (!tracked(x, weight, bias)) return { y, mean, variance }
  // The backward pass needs the statistics of now, and running ones move on.
  const [m, v] = given ? [mean.clone(), variance.clone()] : [mean, variance]
  const operands: Operands = { x, weight, bias, input, w, mean: m, spread: v, matrix: volume }
  const rule = (g: Tensor) => {
    if (isRecording())
      return batchNormSlopes(x, weight, bias, given ? { mean: m, variance: v } : null, eps, g)
    return backward('batchNormBackward', operands, g, () => {
      begin()
      write(input, volume)
      write(w, [channels])
      write(m, [channels])
      write(v, [channels])
      number(!given)
      number(eps)
    })
  }
  // The batch's own statistics mix the samples: then there is no gradient of one alone.
  const spatial = x.shape.map((_, i) => i).slice(2)
  const samples: SampleRule = (g, count, i) => {
    if (i === 0) return null
    const wide = (t: Tensor) => reshape(t, [-1, ...spatial.map(() => 1)])
    return (measure) => {
      const by = i === 1 ? mul(g, mul(sub(x, wide(m)), rsqrt(add(wide(v), eps)))) : g
      return rowSamples(spatial.length > 0 ? sum(by, spatial) : by, count, measure)
    }
  }
  const refused: SampleRule = () => {
    throw new NotPerSample(
      "a batch norm over the batch's statistics mixes the samples, so that none has a gradient of its own: call eval() on the model, or set the layer's `statistics` to 'running'",
    )
  }
  record(y, [x, weight, bias], rule, given ? samples : refused)
  return { y, mean, variance }
}

function batchNormSlopes(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  given: BatchStatistics | null,
  eps: number,
  g: Tensor,
) {
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1)
  const wide = (t: Tensor) => reshape(t, [-1, ...x.shape.slice(2).map(() => 1)])
  const centre = sub(x, given ? wide(given.mean) : meanOf(x, axes, true))
  const spread = given ? wide(given.variance) : meanOf(square(centre), axes, true)
  const rstd = rsqrt(add(spread, eps))
  const normal = mul(centre, rstd)
  const h = weight ? mul(g, wide(weight)) : g
  const through = () => {
    if (given) return h
    return sub(sub(h, meanOf(h, axes, true)), mul(normal, meanOf(mul(h, normal), axes, true)))
  }
  return [
    x.requiresGrad ? mul(rstd, through()) : null,
    weight?.requiresGrad ? sum(mul(g, normal), axes) : null,
    bias?.requiresGrad ? sum(g, axes) : null,
  ]
}
