/** What the decompositions share: stacks of matrices, and calls in both forms. */

import { type AsyncOptions, runAsync } from '../engine/async.js'
import { begin, number, view } from '../engine/call.js'
import { DTypeError, ShapeError } from '../engine/errors.js'
import { type NativeBuffer, type NativeJob, native } from '../engine/native.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { shownShape, sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

/** Matrices with any number of leading axes, seen as [batch, rows, cols]. */
export interface Stack {
  x: Tensor
  leading: readonly number[]
  batch: number
  rows: number
  cols: number
  /** Where the argument was, and results go. */
  device: string
}

/**
 * A float32 or float64 argument of at least two axes.
 *
 * @param stays whether such matrices stay on their device (`streamed`: one of their strides is 1); all
 * do where missing
 */
export function stackOf(
  value: ArrayLike,
  name: string,
  stays: (rows: number, cols: number, streamed: boolean) => boolean = () => true,
): Stack {
  const x = toTensor(value, name)
  if (x.dtype !== 'float32' && x.dtype !== 'float64')
    throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected float32 or float64`)
  if (x.rank < 2)
    throw new ShapeError(`'${name}' has shape ${shownShape(x.shape)}, expected at least two axes`)
  const leading = x.shape.slice(0, -2)
  const [rows, cols] = x.shape.slice(-2) as [number, number]
  const batch = sizeOf(leading)
  const there = x.detach().reshape(batch, rows, cols)
  const streamed = there.strides[1] === 1 || there.strides[2] === 1
  return {
    x: stays(rows, cols, streamed) ? there : there.to('cpu'),
    leading,
    batch,
    rows,
    cols,
    device: x.device,
  }
}

/** The same, of square matrices. */
export function squareStack(value: ArrayLike, name: string): Stack {
  const stack = stackOf(value, name)
  if (stack.rows !== stack.cols)
    throw new ShapeError(
      `'${name}' holds ${stack.rows}×${stack.cols} matrices, expected square ones`,
    )
  return stack
}

/** An output for each matrix of a stack. */
export const emptyLike = ({ x, batch }: Stack, rows: number, cols: number): Tensor =>
  Tensor.empty([batch, rows, cols], x.dtype, x.device)

type Name = 'qr' | 'cholesky' | 'solve' | 'solveTriangular' | 'eigh' | 'svd' | 'randomizedSvd'

/** A result in the shape and on the device that the caller expects. */
export const resultOf = ({ device }: Stack, x: Tensor, shape: readonly number[]): Tensor =>
  x.reshape(...shape).to(device)

/** One call of the engine and what its outputs mean. */
export interface Prepared<R> {
  name: Name
  tensors: readonly (Tensor | null)[]
  numbers?: readonly (number | boolean)[]
  result: (answer: unknown) => R
}

function write({ tensors, numbers = [] }: Prepared<unknown>): (NativeBuffer | null)[] {
  begin()
  for (const tensor of tensors) if (tensor) view(tensor)
  for (const value of numbers) number(value)
  return tensors.map((tensor) => tensor?.buffer ?? null)
}

/** Makes the call on this thread. */
export function run<R>(prepared: Prepared<R>): R {
  const buffers = write(prepared)
  return prepared.result(native[prepared.name](...buffers))
}

/** Makes the call on another thread. */
export async function runLater<R>(prepared: Prepared<R>, options: AsyncOptions): Promise<R> {
  const start = (): NativeJob => {
    const buffers = write(prepared)
    return native[`${prepared.name}Async`](...buffers)
  }
  return prepared.result(await runAsync(start, options))
}
