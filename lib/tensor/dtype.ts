/** Element types and the typed arrays that hold them. */

import { checkChoice } from '../engine/check.js'
import { DTypeError } from '../engine/errors.js'

/** An element type. `bfloat16` is for storage: arithmetic on it is done in float32. */
export type DType = 'float32' | 'float64' | 'bfloat16' | 'int32' | 'uint8' | 'bool'

/** A typed array that can hold a tensor's elements. */
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | Uint8Array

/** The numbers that the engine knows dtypes by (native/include/palimpsest/dtype.h). */
export const dtypeCodes: Record<DType, number> = {
  float32: 0,
  float64: 1,
  bfloat16: 2,
  int32: 3,
  uint8: 4,
  bool: 5,
}

/** In the order of their numbers. */
export const dtypes = Object.keys(dtypeCodes) as DType[]

/** A dtype that a user gave. */
export const checkDType = (dtype: unknown): DType => checkChoice(dtype, 'dtype', dtypes)

/** The typed array of each dtype. */
export const arrayTypes = {
  float32: Float32Array,
  float64: Float64Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const

/** Bytes an element. */
export function bytesOf(dtype: DType): number {
  return arrayTypes[dtype].BYTES_PER_ELEMENT
}

/** True for float32, float64 and bfloat16. */
export function isFloating(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64' || dtype === 'bfloat16'
}

/** The dtype that a typed array holds, where none is named: Uint16Array is bfloat16, Uint8Array is uint8. */
export function dtypeOf(array: unknown, name = 'data'): DType {
  if (array instanceof Float32Array) return 'float32'
  if (array instanceof Float64Array) return 'float64'
  if (array instanceof Int32Array) return 'int32'
  if (array instanceof Uint16Array) return 'bfloat16'
  if (array instanceof Uint8Array) return 'uint8'
  const given = (array as object | null)?.constructor?.name ?? typeof array
  throw new DTypeError(
    `'${name}' is a ${given}; expected a Float32Array, Float64Array, Int32Array, Uint16Array (bfloat16) or Uint8Array`,
  )
}
