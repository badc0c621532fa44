/** Making tensors. */

import { copyInto } from '../autograd/ops/memory.js'
import { checkInteger, checkNumber, checkOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { checkDType, type DType, dtypeOf, type TypedArray } from './dtype.js'
import { type ArrayLike, toTensor } from './interop.js'
import { checkShape, type Shape, sizeOf } from './shape.js'
import { allocate } from './storage.js'
import { type Nested, Tensor } from './tensor.js'

/** Options of every function that makes a tensor. */
export interface CreateOptions {
  /** 'float32' by default. */
  dtype?: DType
  /** Whether `backward()` shall find its gradient; false by default. */
  requiresGrad?: boolean
}

function finish(x: Tensor, { requiresGrad = false }: CreateOptions): Tensor {
  return requiresGrad ? x.requireGrad() : x
}

/** The dtype that options ask for. */
const dtypeIn = (options: CreateOptions, otherwise: DType): DType =>
  checkDType(checkOptions(options).dtype ?? otherwise)

/** A tensor of one value. */
export function full(shape: Shape, value: number, options: CreateOptions = {}): Tensor {
  const dtype = dtypeIn(options, 'float32')
  const extents = checkShape(shape)
  if (typeof value !== 'number') wrong('value', 'a number', value)
  const x = new Tensor(allocate(dtype, sizeOf(extents), value === 0), dtype, extents)
  return finish(value === 0 ? x : copyInto(x, value), options)
}

export const zeros = (shape: Shape, options?: CreateOptions): Tensor => full(shape, 0, options)
export const ones = (shape: Shape, options?: CreateOptions): Tensor => full(shape, 1, options)
const like = (x: Tensor, value: number) => full(x.shape, value, { dtype: x.dtype })
/** Zeros on the CPU, with the shape and dtype of `x`. */
export const zerosLike = (x: ArrayLike): Tensor => like(toTensor(x, 'x'), 0)
/** Ones on the CPU, with the shape and dtype of `x`. */
export const onesLike = (x: ArrayLike): Tensor => like(toTensor(x, 'x'), 1)

/**
 * A tensor with values of its own, copied from nested arrays, a typed array, or anything that
 * `Tensor.from` takes.
 *
 * @param shape needed only with a flat list that is to have more axes
 */
export function tensor(
  values: Nested | TypedArray | ArrayLike,
  options: CreateOptions & { shape?: Shape } = {},
): Tensor {
  const foreign = typeof values === 'object' && !Array.isArray(values)
  if (foreign && !ArrayBuffer.isView(values)) {
    const source = toTensor(values, 'values')
    const dtype = dtypeIn(options, source.dtype)
    return finish(copyInto(Tensor.empty(source.shape, dtype), source), options)
  }
  if (foreign) dtypeOf(values, 'values')
  const flat: number[] | TypedArray = foreign ? (values as TypedArray) : []
  const shape: number[] = foreign ? [(values as TypedArray).length] : []
  if (!foreign) flatten(values as Nested, 0, shape, flat as number[])
  const dtype = dtypeIn(options, 'float32')
  const wanted = options.shape ? checkShape(options.shape) : shape
  if (sizeOf(wanted) !== flat.length) {
    throw new ShapeError(`${flat.length} values do not fill the shape [${wanted.join(', ')}]`)
  }
  const x = Tensor.empty(wanted, dtype)
  if (dtype === 'bfloat16' || dtype === 'bool') {
    copyInto(x, Tensor.from({ data: Float64Array.from(flat), shape: wanted }))
  } else {
    x.array.set(flat)
  }
  return finish(x, options)
}

function flatten(values: Nested, depth: number, shape: number[], flat: number[]): void {
  if (!Array.isArray(values)) {
    if (typeof values !== 'number' && typeof values !== 'boolean')
      wrong('values', 'numbers', values)
    if (depth !== shape.length)
      throw new ShapeError("'values' is ragged: numbers lie at different depths")
    flat.push(Number(values))
    return
  }
  if (depth === shape.length) {
    if (flat.length > 0) throw new ShapeError("'values' is ragged: numbers lie at different depths")
    shape.push(values.length)
  } else if (shape[depth] !== values.length) {
    throw new ShapeError(
      `'values' is ragged: lists of ${shape[depth]} and ${values.length} entries at one depth`,
    )
  }
  for (const value of values) flatten(value, depth + 1, shape, flat)
}

/** A number of values that a typed array can hold. */
const checkCount = (count: number, name: string): number => checkInteger(count, name, 0, 2 ** 31)

/** start, start + step, … up to but without `end`; arange(n) counts from 0. */
export function arange(start: number, end?: number, step = 1, options: CreateOptions = {}): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end]
  checkNumber(from, 'start', -Number.MAX_VALUE, Number.MAX_VALUE)
  checkNumber(to, 'end', -Number.MAX_VALUE, Number.MAX_VALUE)
  if (checkNumber(step, 'step') === 0) wrong('step', 'a number that is not 0', step)
  const count = checkCount(Math.max(0, Math.ceil((to - from) / step)), 'end, start and step')
  return tensor(
    Float64Array.from({ length: count }, (_, i) => from + i * step),
    options,
  )
}

/** `count` values from start to end, both included. */
export function linspace(
  start: number,
  end: number,
  count: number,
  options: CreateOptions = {},
): Tensor {
  checkNumber(start, 'start')
  checkNumber(end, 'end')
  checkCount(count, 'count')
  const step = count > 1 ? (end - start) / (count - 1) : 0
  return tensor(
    Float64Array.from({ length: count }, (_, i) =>
      i === count - 1 && count > 1 ? end : start + i * step,
    ),
    options,
  )
}

/** The identity matrix. */
export function eye(n: number, options: CreateOptions = {}): Tensor {
  checkInteger(n, 'n', 0, 1e6)
  const x = zeros([n, n], { ...checkOptions(options), requiresGrad: false })
  const diagonal = new Tensor(x.storage, x.dtype, [n], [n + 1])
  x.storage.references++
  copyInto(diagonal, 1)
  diagonal.dispose()
  return finish(x, options)
}
