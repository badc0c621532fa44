/** Element types of safetensors files that Tensor does not hold, as the nearest that it does. */

import { FormatError } from '../engine/errors.js'
import type { DType } from '../tensor/dtype.js'

interface Conversion {
  dtype: DType
  /** From the file's bytes (little endian) to elements. */
  convert(bytes: DataView, count: number, fail: (what: string) => never): Float32Array | Int32Array
}

/** An IEEE-like float of up to 16 bits. */
function small(bits: number, exponentBits: number, mantissaBits: number, finite: boolean): number {
  const sign = bits >> (exponentBits + mantissaBits) ? -1 : 1
  const exponent = (bits >> mantissaBits) & ((1 << exponentBits) - 1)
  const mantissa = bits & ((1 << mantissaBits) - 1)
  const bias = (1 << (exponentBits - 1)) - 1
  const top = (1 << exponentBits) - 1
  if (finite) {
    // E4M3FN has no infinities: all bits set is NaN.
    if (exponent === top && mantissa === (1 << mantissaBits) - 1) return NaN
  } else if (exponent === top) {
    return mantissa ? NaN : sign * Infinity
  }
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits)
  return sign * (1 + mantissa / (1 << mantissaBits)) * 2 ** (exponent - bias)
}

const floats = (bytes: number, exponent: number, mantissa: number, finite = false): Conversion => {
  const values = Float32Array.from({ length: 1 << (8 * bytes) }, (_, bits) =>
    small(bits, exponent, mantissa, finite),
  )
  return {
    dtype: 'float32',
    convert: (view, count) =>
      Float32Array.from({ length: count }, (_, i) => {
        const bits = bytes === 1 ? view.getUint8(i) : view.getUint16(2 * i, true)
        return values[bits] as number
      }),
  }
}

const integers = (
  bytes: number,
  get: (view: DataView, at: number) => number | bigint,
): Conversion => ({
  dtype: 'int32',
  convert: (view, count, fail) =>
    Int32Array.from({ length: count }, (_, i) => {
      const value = Number(get(view, i * bytes))
      if (value !== (value | 0)) fail(`holds ${value}, which int32 does not`)
      return value
    }),
})

const makers: Record<string, () => Conversion> = {
  F16: () => floats(2, 5, 10),
  F8_E5M2: () => floats(1, 5, 2),
  F8_E4M3: () => floats(1, 4, 3, true),
  I8: () => integers(1, (v, at) => v.getInt8(at)),
  I16: () => integers(2, (v, at) => v.getInt16(at, true)),
  U16: () => integers(2, (v, at) => v.getUint16(at, true)),
  U32: () => integers(4, (v, at) => v.getUint32(at, true)),
  I64: () => integers(8, (v, at) => v.getBigInt64(at, true)),
  U64: () => integers(8, (v, at) => v.getBigUint64(at, true)),
}
const made = new Map<string, Conversion>()

/** Converts bytes of a foreign type; null where there is no such type. */
export function convertForeign(
  type: string,
  bytes: Uint8Array,
  elementBytes: number,
  name: string,
): { data: Float32Array | Int32Array; dtype: DType } | null {
  const maker = Object.hasOwn(makers, type) ? makers[type] : undefined
  if (!maker) return null
  const conversion = made.get(type) ?? maker()
  made.set(type, conversion)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fail = (what: string): never => {
    throw new FormatError(`tensor '${name}' of type ${type} ${what}`)
  }
  const data = conversion.convert(view, bytes.byteLength / elementBytes, fail)
  return { data, dtype: conversion.dtype }
}
