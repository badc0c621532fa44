/** What counts as a tensor, and going back to what the caller uses. */

import ndarray, { type NdArray } from 'ndarray'
import { checkInteger, checkIntegers, wrong } from '../engine/check.js'
import { DisposedError, DTypeError, ShapeError } from '../engine/errors.js'
import { arrayTypes, type DType, dtypeOf, isFloating, type TypedArray } from './dtype.js'
import { checkShape, type Shape, shownShape, sizeOf, stridesOf } from './shape.js'
import { Tensor } from './tensor.js'

/** Bare memory with a shape, row-major. */
export interface DataWithShape {
  data: TypedArray
  shape: readonly number[]
  /** Needed where the array alone does not tell: 'bool' in a Uint8Array. */
  dtype?: DType
  /** Strided memory comes as an ndarray: strides here would be ignored. */
  strides?: never
}

/** Anything that a function takes where it needs a tensor. */
export type ArrayLike = Tensor | NdArray<TypedArray> | DataWithShape

/** A tensor's parts. */
export interface Parts {
  data: TypedArray
  dtype: DType
  shape: number[]
  strides: number[]
  offset: number
}

const isNdarray = (value: object): value is NdArray<TypedArray> =>
  'data' in value && 'shape' in value && 'stride' in value && 'offset' in value

/** Takes a foreign array apart, checking that its elements lie inside its memory. */
export function describe(value: unknown, name = 'array'): Parts {
  if (typeof value !== 'object' || value === null || !('data' in value) || !('shape' in value)) {
    return wrong(name, 'a Tensor, an ndarray or { data: TypedArray, shape: number[] }', value)
  }
  const { data } = value as DataWithShape
  const { dtype: said } = value as DataWithShape
  // An ndarray says 'uint16' of what is bfloat16 here.
  const dtype =
    said === undefined || (said as string) === 'uint16' ? dtypeOf(data, `${name}.data`) : said
  const Type = arrayTypes[dtype]
  if (!Type) throw new DTypeError(`unknown dtype ${String(dtype)} of '${name}'`)
  if (!(data instanceof Type)) {
    throw new DTypeError(
      `'${name}' is said to be ${dtype} but its data is a ${data?.constructor?.name}`,
    )
  }
  const shape = checkShape((value as DataWithShape).shape, `${name}.shape`)
  const strides = isNdarray(value)
    ? checkIntegers(value.stride, `${name}.stride`, shape.length)
    : stridesOf(shape)
  const offset = isNdarray(value) ? checkInteger(value.offset, `${name}.offset`) : 0
  let low = offset
  let high = offset
  for (let i = 0; i < shape.length; i++) {
    const span = ((shape[i] as number) - 1) * (strides[i] as number)
    if (span < 0) low += span
    else high += span
  }
  const exact = isNdarray(value) || data.length === sizeOf(shape)
  if (sizeOf(shape) > 0 && (low < 0 || high >= data.length || !exact)) {
    throw new ShapeError(
      `'${name}' has ${data.length} elements, which do not fit the shape ${shownShape(shape)}`,
    )
  }
  return { data, dtype, shape, strides, offset }
}

const disposedError = (x: Tensor, name: string) =>
  new DisposedError(`'${name}' of shape ${shownShape(x.shape)} was used after dispose()`)

/** A Tensor and nothing else, where gradients or changes must reach the caller's own. */
export function checkTensor(value: unknown, name: string): Tensor {
  if (!(value instanceof Tensor)) return wrong(name, 'a Tensor', value)
  if (value.disposed) throw disposedError(value, name)
  return value
}

/** A tensor of floats. */
export function checkFloating(x: Tensor, name: string): Tensor {
  if (!isFloating(x.dtype)) throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected floats`)
  return x
}

/** A tensor of one of the dtypes that kernels of networks compute in. */
export function checkWideFloat(x: Tensor, name: string): Tensor {
  if (x.dtype !== 'float32' && x.dtype !== 'float64') {
    throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected float32 or float64`)
  }
  return x
}

/** A list of Tensors. */
export function checkTensors(value: unknown, name: string, least = 0): Tensor[] {
  if (!Array.isArray(value) || value.length < least) {
    return wrong(name, `a list of at least ${least} tensors`, value)
  }
  value.forEach((x, i) => {
    checkTensor(x, `${name}[${i}]`)
  })
  return value
}

/** A tensor over the memory of what a function was given, with the argument's name in errors. */
export function toTensor(value: unknown, name: string): Tensor {
  if (value instanceof Tensor) {
    if (value.disposed) throw disposedError(value, name)
    return value
  }
  if (value instanceof Tensor) return value
  const { data, dtype, shape, strides, offset } = describe(value, name)
  return Tensor.from({ data, dtype, shape, stride: strides, offset } as unknown as ArrayLike)
}

/** An ndarray over a tensor's memory. */
export function toNdarray(tensor: Tensor): NdArray<TypedArray> {
  return ndarray(
    tensor.array,
    [...tensor.shape],
    [...tensor.strides],
    tensor.offset,
  ) as NdArray<TypedArray>
}

/** A result in the kind of the argument that it was computed from, over the same memory. */
export function likeInput(result: Tensor, input: unknown): ArrayLike {
  if (input instanceof Tensor) return result
  if (typeof input === 'object' && input !== null && isNdarray(input)) return result.toNdarray()
  return { data: result.data, shape: [...result.shape] as Shape as number[] }
}
