/** Derivatives of functions: products with the Jacobian from both sides, and the matrix itself. */

import { wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { grad } from './backward.js'
import * as ops from './ops/index.js'
import { withRecording } from './tape.js'

/** A function from tensors to one tensor, built of differentiable operations. */
export type TensorFunction = (...inputs: Tensor[]) => Tensor

/** fn at leaves of its own, recorded. */
function at(fn: TensorFunction, inputs: readonly Tensor[]): { y: Tensor; leaves: Tensor[] } {
  if (typeof fn !== 'function') wrong('fn', 'a function', fn)
  if (!Array.isArray(inputs) || inputs.length === 0) {
    wrong('inputs', 'a list of at least one tensor', inputs)
  }
  for (const [i, x] of inputs.entries()) {
    if (!(x instanceof Tensor)) wrong(`inputs[${i}]`, 'a tensor', x)
  }
  const leaves = inputs.map((x) => x.detach().requireGrad())
  const y = fn(...leaves)
  if (!(y instanceof Tensor)) wrong('fn', 'a function that returns one tensor', y)
  return { y, leaves }
}

function checkLike(v: readonly Tensor[], inputs: readonly Tensor[], name: string): void {
  if (!Array.isArray(v) || v.length !== inputs.length) {
    wrong(name, `a list of ${inputs.length} tensors`, v)
  }
  for (const [i, x] of v.entries()) {
    const like = inputs[i] as Tensor
    if (!(x instanceof Tensor)) wrong(`${name}[${i}]`, 'a tensor', x)
    if (!sameShape(x.shape, like.shape)) {
      throw new ShapeError(
        `'${name}[${i}]' has shape ${shownShape(x.shape)}, expected ${shownShape(like.shape)}`,
      )
    }
  }
}

/**
 * vᵀ·J: the gradients of Σ v∘fn(inputs).
 *
 * @param v of the output's shape
 * @returns the output, and one gradient an input
 */
export function vjp(
  fn: TensorFunction,
  inputs: readonly Tensor[],
  v: Tensor,
): { value: Tensor; grads: Tensor[] } {
  return withRecording(true, () => {
    const { y, leaves } = at(fn, inputs)
    checkLike([v], [y], 'v')
    const grads = y.requiresGrad ? grad(y, leaves, { gradOutput: v }) : zerosLike(leaves)
    return { value: y.detach(), grads }
  })
}

const zerosLike = (list: readonly Tensor[]) => list.map((x) => ops.filled(x.shape, 0, x))

/**
 * J·v: how the output moves when the inputs move along `tangents`. By two backward passes: vᵀ·J is linear
 * in v, and its own derivative along the tangents is J·v.
 *
 * @param tangents one of each input's shape
 * @returns the output, and its derivative
 */
export function jvp(
  fn: TensorFunction,
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
): { value: Tensor; tangent: Tensor } {
  return withRecording(true, () => {
    checkLike(tangents, inputs, 'tangents')
    const { y, leaves } = at(fn, inputs)
    if (!y.requiresGrad) return { value: y, tangent: ops.filled(y.shape, 0, y) }
    const v = ops.filled(y.shape, 0, y).requireGrad()
    const slopes = grad(y, leaves, { gradOutput: v, createGraph: true })
    const products = slopes
      .map((slope, i) => ops.sum(ops.mul(slope, tangents[i] as Tensor)))
      .reduce((a, b) => ops.add(a, b))
    const [tangent] = products.requiresGrad ? grad(products, [v]) : zerosLike([v])
    return { value: y.detach(), tangent: tangent as Tensor }
  })
}

/** The matrix of all derivatives, one row an output element: […output, …input], one an input. */
export function jacobian(fn: TensorFunction, inputs: readonly Tensor[]): Tensor[] {
  return withRecording(true, () => {
    const { y, leaves } = at(fn, inputs)
    const shapes = leaves.map((x) => [...y.shape, ...x.shape])
    if (!y.requiresGrad || y.size === 0) {
      return leaves.map((x, i) => ops.filled(shapes[i] as number[], 0, x))
    }
    const rows = Array.from({ length: y.size }, (_, k) => {
      const unit = ops.filled([y.size], 0, y)
      ops.copyInto(ops.select(unit, 0, k), 1)
      const gradOutput = ops.reshape(unit, y.shape)
      return grad(y, leaves, { gradOutput, retainGraph: true })
    })
    return leaves.map((_, i) =>
      ops.reshape(ops.stack(rows.map((row) => row[i] as Tensor)), shapes[i] as number[]),
    )
  })
}

/** fn's gradient as a function, for second derivatives. */
const slopeOf =
  (fn: TensorFunction): TensorFunction =>
  (x) => {
    const y = fn(x as Tensor)
    if (y.size !== 1) {
      throw new ShapeError(`'fn' must return one element, but gave ${shownShape(y.shape)}`)
    }
    return y.requiresGrad
      ? (grad(y, [x as Tensor], { createGraph: true })[0] as Tensor)
      : ops.filled((x as Tensor).shape, 0, x as Tensor)
  }

/** The second derivatives of a scalar function of one tensor: [...x.shape, ...x.shape]. */
export const hessian = (fn: TensorFunction, x: Tensor): Tensor =>
  jacobian(slopeOf(fn), [x])[0] as Tensor

/** H·v without H: one gradient of a gradient (Pearlmutter 1994). */
export function hvp(fn: TensorFunction, x: Tensor, v: Tensor): Tensor {
  return vjp(slopeOf(fn), [x], v).grads[0] as Tensor
}
