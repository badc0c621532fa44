/**
 * Memory of tensors: a typed array that several views may share. What the package allocated itself
 * is recycled when the last view is disposed, so that a training step reuses the memory of the one
 * before; what a user handed in, or saw through `data`, never is.
 */

import { DeviceError } from '../engine/errors.js'
import { arrayTypes, type DType, dtypeCodes, type TypedArray } from './dtype.js'

/** Recycled arrays by dtype and length. */
const shelves = new Map<number, TypedArray[]>()
let shelvedBytes = 0
let shelfLimit = 1 << 30

/** One buffer and the number of tensors that see it. */
export class Storage {
  references = 1

  constructor(
    readonly array: TypedArray,
    readonly key: number,
    /** False once somebody outside can hold the array. */
    public recyclable: boolean,
  ) {}

  release(): void {
    if (--this.references > 0 || !this.recyclable) return
    const bytes = this.array.byteLength
    if (shelvedBytes + bytes > shelfLimit) clearRecycled()
    if (bytes > shelfLimit) return
    shelvedBytes += bytes
    const shelf = shelves.get(this.key)
    if (shelf) shelf.push(this.array)
    else shelves.set(this.key, [this.array])
  }
}

const keyOf = (dtype: DType, length: number) => length * 8 + dtypeCodes[dtype]

/** Memory for `length` elements: what they hold is undefined unless `zero`. */
export function allocate(dtype: DType, length: number, zero = false): Storage {
  const key = keyOf(dtype, length)
  const recycled = shelves.get(key)?.pop()
  if (recycled) {
    shelvedBytes -= recycled.byteLength
    if (zero) recycled.fill(0)
    return new Storage(recycled, key, true)
  }
  try {
    return new Storage(new arrayTypes[dtype](length), key, true)
  } catch (error) {
    throw new DeviceError(`no memory for ${length} elements of ${dtype}`, { cause: error })
  }
}

/** A user's array as storage. */
export function adopt(array: TypedArray): Storage {
  return new Storage(array, -1, false)
}

/** Gives recycled memory back to the system. */
export function clearRecycled(): void {
  shelves.clear()
  shelvedBytes = 0
}

/** Bytes that wait to be reused, and the most that may (1 GiB unless set). */
export function recycledMemory(limit?: number): { bytes: number; limit: number } {
  if (limit !== undefined) {
    shelfLimit = limit
    if (shelvedBytes > shelfLimit) clearRecycled()
  }
  return { bytes: shelvedBytes, limit: shelfLimit }
}
