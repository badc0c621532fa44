/** Softmax and cross-entropy: fused kernels over rows. */

import { begin, number, view, viewAs } from '../../engine/call.js'
import { checkChoice, checkInteger, checkNumber, checkOptions } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { checkAxis, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked } from '../tape.js'
import { exp, mul, sub } from './elementwise.js'
import { cast, contiguous, onDevice } from './memory.js'
import { mean as meanOf, sum } from './reductions.js'
import { transpose, unsqueeze } from './views.js'

/** A contiguous tensor as a matrix of its last axis, for the kernels. */
function rows(x: Tensor): void {
  const width = x.shape.at(-1) ?? 1
  viewAs(x, [width === 0 ? 0 : x.size / width, width], [width, 1])
}

function softmaxRows(x: Tensor, logarithm: boolean): Tensor {
  const y = Tensor.empty(x.shape, x.dtype, x.device)
  begin()
  rows(x)
  rows(y)
  number(logarithm)
  native.softmax(x.buffer, y.buffer)
  return y
}

function backwardRows(g: Tensor, y: Tensor, logarithm: boolean): Tensor {
  const dense = contiguous(g)
  const dx = Tensor.empty(y.shape, y.dtype, y.device)
  begin()
  rows(dense)
  rows(y)
  rows(dx)
  number(logarithm)
  native.softmaxBackward(dense.buffer, y.buffer, dx.buffer)
  return dx
}

function along(x: Tensor, axis: number, logarithm: boolean): Tensor {
  const a = checkAxis(axis, x.rank)
  const last = x.rank - 1
  if (a !== last) return transpose(along(transpose(x, a, last), last, logarithm), a, last)
  if (x.dtype !== 'float32' && x.dtype !== 'float64') {
    return cast(
      along(cast(x, 'float32'), axis, logarithm),
      x.dtype === 'bfloat16' ? x.dtype : 'float32',
    )
  }
  const dense = contiguous(x.detach())
  const y = softmaxRows(dense, logarithm)
  if (!tracked(x)) return y
  return record(y, [x], (g) => {
    if (!tracked(g, y)) return [backwardRows(g, y, logarithm)]
    if (logarithm) return [sub(g, mul(exp(y), sum(g, -1, true)))]
    return [mul(y, sub(g, sum(mul(g, y), -1, true)))]
  })
}

/** exp(x) / Σ exp(x) along an axis. */
export function softmax(x: ArrayLike, axis = -1): Tensor {
  x = toTensor(x, 'x')
  return along(x, axis, false)
}

/** log softmax(x) along an axis. */
export function logSoftmax(x: ArrayLike, axis = -1): Tensor {
  x = toTensor(x, 'x')
  return along(x, axis, true)
}

/** Options of crossEntropy, with PyTorch's meanings and defaults. */
export interface CrossEntropyOptions {
  /** One weight a class: the mean is weighted by them. */
  weight?: ArrayLike
  /** Mixes the target with the uniform distribution; 0 by default. */
  labelSmoothing?: number
  /** A target that counts nothing; −100 by default. */
  ignoreIndex?: number
  /** 'mean' (default) over the targets that count, 'sum', or 'none': one loss a row. */
  reduction?: 'mean' | 'sum' | 'none'
}

/**
 * Softmax cross-entropy −log softmax(logits)[target], from logits and class numbers.
 *
 * @param logits [n, classes]
 * @param targets int32 [n]
 * @throws ArgumentError where a target is no class
 */
export function crossEntropy(
  logitsLike: ArrayLike,
  targetsLike: ArrayLike,
  options: CrossEntropyOptions = {},
): Tensor {
  const { labelSmoothing = 0, ignoreIndex = -100, reduction = 'mean' } = checkOptions(options)
  const logits = toTensor(logitsLike, 'logits')
  const targets = toTensor(targetsLike, 'targets')
  const weight = options.weight && toTensor(options.weight, 'weight')
  if (logits.rank !== 2 || targets.rank !== 1 || targets.shape[0] !== logits.shape[0]) {
    throw new ShapeError(
      `crossEntropy needs logits [n, classes] and targets [n], got ${shownShape(logits.shape)} and ${shownShape(targets.shape)}`,
    )
  }
  if (targets.dtype !== 'int32')
    throw new DTypeError(`'targets' has dtype ${targets.dtype}, expected int32`)
  if (logits.dtype !== 'float32' && logits.dtype !== 'float64') {
    return crossEntropy(cast(logits, 'float32'), targets, options)
  }
  checkNumber(labelSmoothing, 'labelSmoothing', 0, 1)
  checkChoice(reduction, 'reduction', ['mean', 'sum', 'none'])
  checkInteger(ignoreIndex, 'ignoreIndex', -(2 ** 31), 2 ** 31 - 1)
  const { dtype } = logits
  const [n, classes] = logits.shape as [number, number]
  if (weight && (weight.rank !== 1 || weight.shape[0] !== classes)) {
    throw new ShapeError(`'weight' has shape ${shownShape(weight.shape)}, expected [${classes}]`)
  }
  const x = contiguous(logits.detach())
  const t = contiguous(targets)
  const w = weight ? contiguous(cast(weight.detach(), dtype)) : null
  const loss = Tensor.empty([n], dtype, x.device)
  const normaliser = Tensor.empty([n], dtype, x.device)
  const describe = () => {
    begin()
    view(x)
    view(t)
    if (w) view(w)
    view(loss)
    view(normaliser)
    number(labelSmoothing)
    number(ignoreIndex)
  }
  describe()
  native.crossEntropy(x.buffer, t.buffer, w ? w.buffer : null, loss.buffer, normaliser.buffer)
  const perRow = tracked(logits)
    ? record(loss, [logits], (g) => {
        if (tracked(g, logits)) {
          return [crossEntropySlope(logits, t, w, labelSmoothing, ignoreIndex, g)]
        }
        const scale = contiguous(g)
        const dx = Tensor.empty(logits.shape, dtype, x.device)
        describe()
        // One value for all rows where the gradient was broadcast.
        view(scale)
        view(dx)
        native.crossEntropyBackward(
          x.buffer,
          t.buffer,
          w ? w.buffer : null,
          loss.buffer,
          normaliser.buffer,
          scale.buffer,
          dx.buffer,
        )
        return [dx]
      })
    : loss
  if (reduction === 'none') return perRow
  if (reduction === 'sum') return sum(perRow)
  const counted = countedWeight(t, w, ignoreIndex, n)
  return counted === n ? meanOf(perRow) : mul(sum(perRow), 1 / counted)
}

/** The gradient in differentiable operations, for gradients of gradients; nn.h has the formula. */
function crossEntropySlope(
  logits: Tensor,
  targets: Tensor,
  weight: Tensor | null,
  smoothing: number,
  ignore: number,
  g: Tensor,
): Tensor {
  const [n, classes] = logits.shape as [number, number]
  const hostWeight = weight && onDevice(weight, 'cpu')
  const hostTargets = onDevice(targets, 'cpu')
  const w = (j: number) => (hostWeight ? (hostWeight.array[hostWeight.offset + j] as number) : 1)
  const spread = smoothing / classes
  const shift = new Float64Array(n * classes)
  const factor = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    const target = hostTargets.array[hostTargets.offset + i] as number
    if (target === ignore) continue
    for (let j = 0; j < classes; j++) {
      const part = spread * w(j) + (j === target ? (1 - smoothing) * w(j) : 0)
      shift[i * classes + j] = part
      factor[i] = (factor[i] as number) + part
    }
  }
  const constant = (data: Float64Array, shape: number[]) =>
    onDevice(cast(Tensor.from({ data, shape }), logits.dtype), logits.device)
  const slope = sub(mul(softmax(logits), constant(factor, [n, 1])), constant(shift, [n, classes]))
  return mul(slope, unsqueeze(g, 1))
}

/** The sum of the weights of the targets that count. */
function countedWeight(labels: Tensor, weights: Tensor | null, ignore: number, n: number): number {
  const { array, offset } = onDevice(labels, 'cpu')
  const weight = weights && onDevice(weights, 'cpu')
  let total = 0
  for (let i = 0; i < n; i++) {
    const target = array[offset + i] as number
    if (target !== ignore) total += weight ? (weight.array[weight.offset + target] as number) : 1
  }
  return total
}
