/** Matrix products and their gradients. Transposes are views: no operand is copied for one. */

import { begin, number, view } from '../../engine/call.js'
import { checkChoice, checkOptions } from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import * as raw from '../../tensor/elementwise.js'
import { promote } from '../../tensor/elementwise.js'
import { type ArrayLike, checkFloating, toTensor } from '../../tensor/interop.js'
import { broadcastShapes, type Shape, sameShape, shownShape, sizeOf } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { isRecording, record, tracked, unread, usedUp } from '../tape.js'
import { mul, reluBackward, sigmoidBackward, tanhBackward } from './elementwise.js'
import { cast } from './memory.js'
import { sum, sumTo } from './reductions.js'
import { productSamples, rowSamples } from './samples.js'
import { expand, reshape, transpose } from './views.js'

/** The precision in which float32 factors are multiplied; sums are float32 in both. */
export type Compute = 'float32' | 'bfloat16'
const computes: readonly Compute[] = ['float32', 'bfloat16']

/** Activations that the matrix product applies to its result. */
export const fusedActivations = ['none', 'relu', 'gelu', 'silu', 'tanh', 'sigmoid'] as const
export type FusedActivation = (typeof fusedActivations)[number]

/** out = activation(a·b + bias) for matrices, or batches of them (rank 3). */
function multiply(
  a: Tensor,
  b: Tensor,
  out: Tensor,
  compute: Compute,
  bias: Tensor | null = null,
  activation: FusedActivation = 'none',
): Tensor {
  begin()
  view(a)
  view(b)
  view(out)
  if (bias) view(bias)
  number(1)
  number(0)
  number(fusedActivations.indexOf(activation))
  number(computes.indexOf(compute))
  native.matmul(a.buffer, b.buffer, out.buffer, bias ? bias.buffer : null)
  return out
}

/** A batch as rank 3: leading axes merged, copied only where they cannot be. */
function asBatch(x: Tensor, batch: Shape): Tensor {
  const shape = [...batch, x.shape.at(-2) as number, x.shape.at(-1) as number]
  const wide = sameShape(x.shape, shape) ? x : expand(x, shape)
  return reshape(wide, [sizeOf(batch), shape.at(-2) as number, shape.at(-1) as number])
}

/**
 * The matrix product a·b. Vectors count as a row on the left and a column on the right, and lose that
 * axis in the result; leading axes are batches and broadcast.
 */
export function matmul(a: ArrayLike, b: ArrayLike, options: { compute?: Compute } = {}): Tensor {
  a = toTensor(a, 'a')
  b = toTensor(b, 'b')
  const { compute = 'float32' } = checkOptions(options)
  checkFloating(a, 'a')
  checkFloating(b, 'b')
  checkChoice(compute, 'compute', computes)
  if (a.rank === 0 || b.rank === 0)
    throw new ShapeError(
      `'${a.rank === 0 ? 'a' : 'b'}' is a scalar; a matrix product takes none: use mul`,
    )
  if (a.rank === 1) {
    const y = matmul(reshape(a, [1, -1]), b, { compute })
    return reshape(
      y,
      y.shape.filter((_, i) => i !== y.rank - (b.rank === 1 ? 1 : 2)),
    )
  }
  if (b.rank === 1) {
    const y = matmul(a, reshape(b, [-1, 1]), { compute })
    return reshape(y, y.shape.slice(0, -1))
  }
  if (a.shape.at(-1) !== b.shape.at(-2)) {
    throw new ShapeError(
      `shapes ${shownShape(a.shape)} and ${shownShape(b.shape)} do not multiply: ${a.shape.at(-1)} columns meet ${b.shape.at(-2)} rows`,
    )
  }
  const dtype = promote(a.dtype, b.dtype)
  if (dtype === 'float64' && a.dtype !== b.dtype) return matmul(cast(a, dtype), cast(b, dtype))
  if (b.rank === 2 && a.rank > 2) {
    // One matrix for all batches: one long product.
    const rows = reshape(a, [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1) as number])
    return reshape(matmul(rows, b, { compute }), [...a.shape.slice(0, -1), b.shape[1] as number])
  }
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2))
  const shape = [...batch, a.shape.at(-2) as number, b.shape.at(-1) as number]
  const out = Tensor.empty(shape, dtype, a.device)
  if (batch.length === 0) {
    multiply(a, b, out, compute)
  } else {
    const flat = new Tensor(out.storage, dtype, [sizeOf(batch), ...shape.slice(-2)])
    out.storage.references++
    multiply(asBatch(a.detach(), batch), asBatch(b.detach(), batch), flat, compute)
  }
  return tracked(a, b) ? recordProduct(out, a, b, compute) : out
}

/** Records that `out` is a·b; returns it. */
export function recordProduct(out: Tensor, a: Tensor, b: Tensor, compute: Compute): Tensor {
  const rule = (g: Tensor) => [
    a.requiresGrad ? cast(sumTo(matmul(g, transpose(b), { compute }), a.shape), a.dtype) : null,
    b.requiresGrad ? cast(sumTo(matmul(transpose(a), g, { compute }), b.shape), b.dtype) : null,
  ]
  return record(out, [a, b], rule, (g, samples, i) =>
    i === 1 && b.rank === 2 ? (measure) => productSamples(a, g, samples, measure) : null,
  )
}

const smallGradient = 1 << 14

const linearActivations = ['none', 'relu', 'tanh', 'sigmoid'] as const

/**
 * activation(x·weightᵀ + bias), fused into the product. The activation must be known from its output.
 *
 * @param input x, […, in]
 * @param weights W, [out, in], as in PyTorch
 * @param offsets b, [out], or null
 */
export function linear(
  input: ArrayLike,
  weights: ArrayLike,
  offsets: ArrayLike | null = null,
  activation: 'none' | 'relu' | 'tanh' | 'sigmoid' = 'none',
  compute: Compute = 'float32',
): Tensor {
  const x = toTensor(input, 'input')
  const weight = toTensor(weights, 'weights')
  const bias = offsets && toTensor(offsets, 'offsets')
  if (weight.rank !== 2 || x.rank === 0 || x.shape.at(-1) !== weight.shape[1]) {
    throw new ShapeError(
      `'input' of shape ${shownShape(x.shape)} does not fit 'weights' of shape ${shownShape(weight.shape)}`,
    )
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== weight.shape[0])) {
    throw new ShapeError(
      `'offsets' has shape ${shownShape(bias.shape)}, expected [${weight.shape[0]}]`,
    )
  }
  if (x.rank !== 2) {
    const flat = reshape(x, [-1, x.shape.at(-1) as number])
    const rows = linear(flat, weight, bias, activation, compute)
    const y = reshape(rows, [...x.shape.slice(0, -1), weight.shape[0] as number])
    usedUp(flat, rows)
    usedUp(rows, y)
    // No gradient needs a product's values, and y alone shall own them.
    if (activation === 'none') rows.letGo()
    return y
  }
  checkFloating(x, 'input')
  checkFloating(weight, 'weights')
  checkChoice(activation, 'activation', linearActivations)
  checkChoice(compute, 'compute', computes)
  const dtype = promote(x.dtype, weight.dtype)
  if (dtype === 'float64' && x.dtype !== weight.dtype) {
    return linear(
      cast(x, dtype),
      cast(weight, dtype),
      bias && cast(bias, dtype),
      activation,
      compute,
    )
  }
  const sums = dtype === 'bfloat16' ? 'float32' : dtype
  const plainBias =
    bias && (bias.dtype !== sums || !bias.contiguous) ? raw.unary('copy', bias, sums) : bias
  const out = Tensor.empty([x.shape[0] as number, weight.shape[0] as number], dtype, x.device)
  multiply(x, transpose(weight.detach()), out, compute, plainBias, activation)
  if (!tracked(x, weight, bias)) return out
  // The gradients of both parameters, sample by sample, begin with the same one.
  let known: { of: Tensor; inner: Tensor } | null = null
  const before = (g: Tensor) => {
    if (activation === 'none') return g
    if (isRecording()) return chain[activation](g, out)
    if (known?.of !== g || known.inner.disposed) known = { of: g, inner: chain[activation](g, out) }
    return known.inner
  }
  const direct = x.size > 0 && out.size > 0 && x.dtype === weight.dtype && dtype === sums
  const rule = (g: Tensor) => {
    if (direct && !isRecording() && g.dtype === dtype && (!bias || bias.dtype === dtype)) {
      // A large gradient of the sums goes over g where it may; a small one is worth no call of its own.
      return g.size < smallGradient
        ? linearGrads(g, out, x, weight, bias, activation, compute)
        : linearGrads(before(g), out, x, weight, bias, 'none', compute)
    }
    const inner = before(g)
    return [
      x.requiresGrad ? matmul(inner, weight, { compute }) : null,
      weight.requiresGrad ? matmul(transpose(inner), x, { compute }) : null,
      bias?.requiresGrad ? cast(sum(inner, 0), bias.dtype) : null,
    ]
  }
  record(out, [x, weight, bias], rule, (g, samples, i) => {
    if (i === 0) return null
    if (i === 1) return (measure) => productSamples(before(g), x, samples, measure)
    return (measure) => rowSamples(before(g), samples, measure)
  })
  return activation === 'none' ? unread(out) : out
}

/** The gradients of linear() that are wanted, in one native call. */
function linearGrads(
  g: Tensor,
  y: Tensor,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  activation: FusedActivation,
  compute: Compute,
): (Tensor | null)[] {
  const like = (z: Tensor | null) =>
    z?.requiresGrad ? Tensor.empty(z.shape, z.dtype, z.device) : null
  const grads = [like(x), like(weight), like(bias)] as const
  const output = activation === 'none' ? null : y
  begin()
  for (const z of [g, output, x, weight, ...grads]) if (z) view(z)
  number(fusedActivations.indexOf(activation))
  number(computes.indexOf(compute))
  const [dx, dw, db] = grads
  native.linearBackward(
    g.buffer,
    output ? output.buffer : null,
    x.buffer,
    weight.buffer,
    dx ? dx.buffer : null,
    dw ? dw.buffer : null,
    db ? db.buffer : null,
  )
  return [dx, dw, db]
}

/** All products of the entries of two vectors: [m, n]. */
export function outer(a: ArrayLike, b: ArrayLike): Tensor {
  const [x, y] = [toTensor(a, 'a'), toTensor(b, 'b')]
  checkVectors(x, y)
  return mul(reshape(x, [-1, 1]), y)
}

/** The sum of products of two vectors of one length. */
export function dot(a: ArrayLike, b: ArrayLike): Tensor {
  const [x, y] = [toTensor(a, 'a'), toTensor(b, 'b')]
  checkVectors(x, y)
  if (x.size !== y.size) {
    throw new ShapeError(
      `vectors 'a' of ${x.size} and 'b' of ${y.size} entries have no dot product`,
    )
  }
  return sum(mul(x, y))
}

function checkVectors(x: Tensor, y: Tensor): void {
  if (x.rank !== 1 || y.rank !== 1) {
    throw new ShapeError(
      `expected two vectors, got ${shownShape(x.shape)} and ${shownShape(y.shape)}`,
    )
  }
}

/** g·f'(…) of the fused activations from their outputs, written over g where that may be. */
const chain = {
  relu: (g: Tensor, y: Tensor) => reluBackward(g, y, true),
  tanh: (g: Tensor, y: Tensor) => tanhBackward(g, y, true),
  sigmoid: (g: Tensor, y: Tensor) => sigmoidBackward(g, y, true),
}
