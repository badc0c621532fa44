/** State-space sequence operations: the selective scan of Mamba and its causal convolution. */

import { begin, view } from '../../engine/call.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkWideFloat, toTensor } from '../../tensor/interop.js'
import { type Shape, sameShape, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { grad } from '../backward.js'
import { isRecording, record, tracked } from '../tape.js'
import { add, exp, mul } from './elementwise.js'
import { contiguous } from './memory.js'
import { sum } from './reductions.js'
import { finishInChunks, NotPerSample, rowSamples } from './samples.js'
import { reshape, select, slice, stack, unsqueeze } from './views.js'

const dense = (x: Tensor | null) => (x ? contiguous(x.detach()) : null)
const arrayOf = (x: Tensor | null) => (x ? x.buffer : null)

function writeViews(...list: (Tensor | null)[]): void {
  begin()
  for (const x of list) if (x) view(x)
}

function checkShape(x: Tensor | null, name: string, expected: Shape, dtype: Tensor['dtype']): void {
  if (!x) return
  if (!sameShape(x.shape, expected)) {
    throw new ShapeError(
      `'${name}' has shape ${shownShape(x.shape)}, expected ${shownShape(expected)}`,
    )
  }
  if (x.dtype !== dtype) throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected ${dtype}`)
}

function checkSequence(x: Tensor, name: string): readonly [number, number, number] {
  if (x.rank !== 3) {
    throw new ShapeError(
      `'${name}' has shape ${shownShape(x.shape)}, expected [batch, time, channels]`,
    )
  }
  checkWideFloat(x, name)
  return x.shape as unknown as [number, number, number]
}

/** Gradients by way of a formula in differentiable operations, for gradients of gradients. */
function again(inputs: readonly (Tensor | null)[], y: Tensor, g: Tensor): (Tensor | null)[] {
  const wanted = inputs.filter((x): x is Tensor => x?.requiresGrad ?? false)
  const slopes = grad(y, wanted, { gradOutput: g, createGraph: true })
  return inputs.map((x) => (x?.requiresGrad ? (slopes[wanted.indexOf(x)] as Tensor) : null))
}

/**
 * The selective scan (Gu & Dao 2023, Mamba, section 3.2): for every channel d with N states,
 * h_t = exp(δ_t·A_d)·h_{t−1} + δ_t·u_t·B_t from h = 0, and y_t = C_t·h_t + D_d·u_t.
 *
 * @param input u, [batch, time, channels] (time before channels, unlike the paper's code)
 * @param steps δ, like u, already positive
 * @param a [channels, states], negative for a stable state
 * @param b [batch, time, states]
 * @param c like b
 * @param d [channels], or null
 * @returns y, like u
 */
export function selectiveScan(
  input: ArrayLike,
  steps: ArrayLike,
  a: ArrayLike,
  b: ArrayLike,
  c: ArrayLike,
  d: ArrayLike | null = null,
): Tensor {
  const u = toTensor(input, 'input')
  const delta = toTensor(steps, 'steps')
  const [decay, drive, read] = [toTensor(a, 'a'), toTensor(b, 'b'), toTensor(c, 'c')]
  const through = d && toTensor(d, 'd')
  const [batch, time, channels] = checkSequence(u, 'input')
  const states = decay.shape[1] ?? 0
  checkShape(delta, 'steps', u.shape, u.dtype)
  checkShape(decay, 'a', [channels, states], u.dtype)
  checkShape(drive, 'b', [batch, time, states], u.dtype)
  checkShape(read, 'c', [batch, time, states], u.dtype)
  checkShape(through, 'd', [channels], u.dtype)
  const inputs = [u, delta, decay, drive, read, through] as const
  const own = inputs.map(dense)
  const y = Tensor.empty(u.shape, u.dtype, u.device)
  const kept = Tensor.empty([batch * Math.ceil(time / 32) * channels * states], u.dtype, u.device)
  writeViews(...own, y, kept)
  native.selectiveScan(...own.map(arrayOf), y.buffer, kept.buffer)
  if (!tracked(u, delta, decay) && !tracked(drive, read, through)) return y
  const rule = (g: Tensor) =>
    isRecording() ? again(inputs, scanByDefinition(inputs), g) : scanSlopes(own, kept, g)
  return record(y, inputs, rule, (g, samples, i) => {
    if (i === 5) return (measure) => rowSamples(sum(mul(g, u), 1), samples, measure)
    if (i !== 2) return null
    // Each sample drives the states of its own: the kernel runs back through one after the other.
    if (batch !== samples) throw new NotPerSample(`${batch} sequences are not ${samples} samples`)
    const part = (x: Tensor | null, at: number) => x && slice(x, 0, at, at + 1)
    const apart = reshape(kept, [batch, -1])
    return (measure) =>
      finishInChunks(samples, decay.size, measure, (begin, end) =>
        stack(
          Array.from({ length: end - begin }, (_, k) => {
            const at = begin + k
            const mine = own.map((x, j) => (j === 2 || j === 5 ? x : part(x, at)))
            const states = reshape(slice(apart, 0, at, at + 1), [-1])
            return scanSlopes(mine, states, slice(g, 0, at, at + 1))[2] as Tensor
          }),
        ),
      )
  })
}

/** Gradients of the scan's inputs (contiguous) by its kernel. */
function scanSlopes(inputs: readonly (Tensor | null)[], kept: Tensor, g: Tensor) {
  const dy = contiguous(g)
  const slopes = inputs.map((x) => (x ? Tensor.empty(x.shape, x.dtype, x.device) : null))
  writeViews(...inputs, kept, dy, ...slopes)
  native.selectiveScanBackward(
    ...inputs.map(arrayOf),
    kept.buffer,
    dy.buffer,
    ...slopes.map(arrayOf),
  )
  return slopes
}

/** The scan as its definition has it, one step at a time. */
function scanByDefinition([u, delta, a, b, c, d]: readonly (Tensor | null)[]): Tensor {
  const [x, step, decay, drive, read] = [u, delta, a, b, c] as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ]
  let h: Tensor | null = null
  const outputs = Array.from({ length: x.shape[1] as number }, (_, t) => {
    const at = (v: Tensor) => select(v, 1, t)
    const rate = unsqueeze(at(step), 2)
    const driven = mul(mul(rate, unsqueeze(at(x), 2)), unsqueeze(at(drive), 1))
    h = h ? add(mul(exp(mul(rate, decay)), h), driven) : driven
    return sum(mul(h, unsqueeze(at(read), 1)), 2)
  })
  const y = stack(outputs, 1)
  return d ? add(y, mul(x, d)) : y
}

/**
 * A convolution of each channel by itself that sees no later time: y_t = bias + Σ_k weight_k ·
 * x_{t − taps + 1 + k}, zero before the beginning.
 *
 * @param input x, [batch, time, channels]
 * @param weights [channels, taps]
 * @param offsets bias, [channels], or null
 */
export function causalConv1d(
  input: ArrayLike,
  weights: ArrayLike,
  offsets: ArrayLike | null = null,
): Tensor {
  const x = toTensor(input, 'input')
  const weight = toTensor(weights, 'weights')
  const bias = offsets && toTensor(offsets, 'offsets')
  const [, , channels] = checkSequence(x, 'input')
  checkShape(weight, 'weights', [channels, Math.max(weight.shape[1] ?? 0, 1)], x.dtype)
  checkShape(bias, 'offsets', [channels], x.dtype)
  const inputs = [x, weight, bias] as const
  const own = inputs.map(dense)
  const y = Tensor.empty(x.shape, x.dtype, x.device)
  writeViews(...own, y)
  native.causalConv(...own.map(arrayOf), y.buffer)
  if (!tracked(x, weight, bias)) return y
  const rule = (g: Tensor) => {
    if (isRecording()) return again(inputs, convByDefinition(inputs), g)
    const dy = contiguous(g)
    const slopes = inputs.map((t) => (t ? Tensor.empty(t.shape, t.dtype, t.device) : null))
    writeViews(own[0] as Tensor, own[1] as Tensor, dy, ...slopes)
    native.causalConvBackward(
      arrayOf(own[0] as Tensor),
      arrayOf(own[1] as Tensor),
      null,
      dy.buffer,
      ...slopes.map(arrayOf),
    )
    return slopes
  }
  return record(y, inputs, rule, (g, samples, i) => {
    if (i === 0) return null
    if (i === 2) return (measure) => rowSamples(sum(g, 1), samples, measure)
    return (measure) => rowSamples(tapSamples(x, g, weight.shape[1] as number), samples, measure)
  })
}

/** The gradient of every tap, sequence by sequence: [batch, channels, taps]. */
function tapSamples(x: Tensor, g: Tensor, taps: number): Tensor {
  const time = x.shape[1] as number
  const each = Array.from({ length: taps }, (_, k) => {
    const back = Math.min(time, taps - 1 - k)
    return sum(mul(slice(g, 1, back), slice(x, 1, 0, time - back)), 1)
  })
  return stack(each, 2)
}

function convByDefinition([x, weight, bias]: readonly (Tensor | null)[]): Tensor {
  const [input, taps] = [x as Tensor, weight as Tensor]
  const [, time] = input.shape as [number, number]
  const count = taps.shape[1] as number
  const outputs = Array.from({ length: time }, (_, t) => {
    const first = Math.max(0, t - count + 1)
    const window = slice(input, 1, first, t + 1)
    const part = slice(taps, 1, count - (t + 1 - first), count).T
    return sum(mul(window, part), 1)
  })
  const y = stack(outputs, 1)
  return bias ? add(y, bias) : y
}
