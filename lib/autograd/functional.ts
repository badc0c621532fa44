/** Derivatives of functions: products with the Jacobian from both sides, and the matrix itself. */

import { checkFunction, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { type ArrayLike, checkFloating, checkTensors, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { grad } from './backward.js'
import * as ops from './ops/index.js'
import { withRecording } from './tape.js'

/** A function from tensors to one tensor, built of differentiable operations. */
export type TensorFunction = (...inputs: Tensor[]) => Tensor

/** A list of tensors that can have gradients. */
export function checkLeaves(inputs: readonly Tensor[], name: string): void {
  for (const [i, x] of checkTensors(inputs, name, 1).entries()) checkFloating(x, `${name}[${i}]`)
}

/** fn at leaves of its own, recorded. */
function at(fn: TensorFunction, inputs: readonly Tensor[]): { y: Tensor; leaves: Tensor[] } {
  checkFunction(fn, 'fn')
  checkLeaves(inputs, 'inputs')
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
  v: ArrayLike,
): { value: Tensor; grads: Tensor[] } {
  return withRecording(true, () => {
    const direction = toTensor(v, 'v')
    const { y, leaves } = at(fn, inputs)
    checkLike([direction], [y], 'v')
    const grads = y.requiresGrad ? grad(y, leaves, { gradOutput: direction }) : zerosLike(leaves)
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
    checkLeaves(inputs, 'inputs')
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
export function hessian(fn: TensorFunction, x: ArrayLike): Tensor {
  checkFunction(fn, 'fn')
  return jacobian(slopeOf(fn), [floating(x)])[0] as Tensor
}

/** The tensor to differentiate at. */
const floating = (x: ArrayLike): Tensor => checkFloating(toTensor(x, 'x'), 'x')

/** H·v without H: one gradient of a gradient (Pearlmutter 1994). */
export function hvp(fn: TensorFunction, x: ArrayLike, v: ArrayLike): Tensor {
  checkFunction(fn, 'fn')
  return vjp(slopeOf(fn), [floating(x)], toTensor(v, 'v')).grads[0] as Tensor
}
