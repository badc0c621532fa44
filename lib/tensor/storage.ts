/**
 * Memory of tensors, shared by views: a typed array on the CPU, a handle on another device. What the package allocated itself
 * is recycled when the last view is disposed, so that a training step reuses the memory of the one
 * before; what a user handed in, or saw through `data`, never is.
 */

import { checkNumber } from '../engine/check.js'
import { DeviceError } from '../engine/errors.js'
import { type DeviceBuffer, type NativeBuffer, native } from '../engine/native.js'
import { openDevice } from '../engine/plugins.js'
import { arrayTypes, bytesOf, type DType, dtypeCodes, dtypes, type TypedArray } from './dtype.js'

/** Recycled arrays by dtype and length. */
const shelves = new Map<number, TypedArray[]>()
/** Keys of shelves with large arrays, by dtype in ascending lengths: these stand in for smaller ones. */
const largeKeys = new Map<DType, number[]>()
const largeBytes = 1 << 16
/** A large array stands in for one that fills at least this part of it. */
const leastUse = 1 / 4
let shelvedBytes = 0
let shelfLimit = 1 << 30

/** One buffer and the number of tensors that see it. */
export class Storage {
  references = 1

  constructor(
    /** What native calls take. */
    readonly buffer: NativeBuffer,
    readonly key: number,
    /** False once somebody outside can hold the array. */
    public recyclable: boolean,
    readonly device = 'cpu',
    /** The recycled array that `buffer` is the beginning of, if it is not all of it. */
    readonly whole: TypedArray | null = null,
  ) {}

  /** The typed array; throws DeviceError where the memory is a device's. */
  get array(): TypedArray {
    if (this.device !== 'cpu') {
      throw new DeviceError(
        `a tensor on '${this.device}' has no memory that JavaScript can see: use read(), toArray() or to('cpu')`,
      )
    }
    return this.buffer as TypedArray
  }

  release(): void {
    if (--this.references > 0 || !this.recyclable) return
    if (this.device !== 'cpu') {
      native.releaseBuffer(this.buffer as DeviceBuffer)
      return
    }
    const array = this.whole ?? this.array
    const bytes = array.byteLength
    if (shelvedBytes + bytes > shelfLimit) clearRecycled()
    if (bytes > shelfLimit) return
    shelvedBytes += bytes
    const shelf = shelves.get(this.key)
    if (shelf) shelf.push(array)
    else {
      shelves.set(this.key, [array])
      if (bytes >= largeBytes) noteLarge(this.key)
    }
  }
}

function noteLarge(key: number): void {
  const dtype = dtypes[key % 8] as DType
  const keys = largeKeys.get(dtype)
  if (!keys) largeKeys.set(dtype, [key])
  else {
    const at = keys.findIndex((other) => other > key)
    keys.splice(at < 0 ? keys.length : at, 0, key)
  }
}

/** The smallest recycled array that is larger than wanted and not much larger. */
function standIn(dtype: DType, length: number): Storage | null {
  const most = keyOf(dtype, length / leastUse)
  const least = keyOf(dtype, length)
  for (const key of largeKeys.get(dtype) ?? []) {
    if (key <= least) continue
    if (key > most) break
    const whole = shelves.get(key)?.pop()
    if (!whole) continue
    shelvedBytes -= whole.byteLength
    return new Storage(whole.subarray(0, length), key, true, 'cpu', whole)
  }
  return null
}

let made = 0

/** How often memory was asked of the system so far, for tests: what is recycled does not count. */
export const allocations = (): number => made

const keyOf = (dtype: DType, length: number) => length * 8 + dtypeCodes[dtype]

/** Memory for `length` elements on a device: what they hold is undefined. */
function allocateOn(device: string, dtype: DType, length: number): Storage {
  const { id, number } = openDevice(device)
  const bytes = length * bytesOf(dtype)
  return new Storage(native.allocateBuffer(number, bytes), -1, true, id)
}

/**
 * A new array, from 256 bytes on at an address that is a multiple of 64: vectors that cross two cache lines
 * are loaded at half the speed, and a line that two cores write to costs more than that.
 */
export function newArray(dtype: DType, length: number): TypedArray {
  const bytes = length * bytesOf(dtype)
  if (bytes < 256) return new arrayTypes[dtype](length)
  const memory = new ArrayBuffer(bytes + 64)
  return new arrayTypes[dtype](memory, (64 - native.settle(memory)) % 64, length)
}

/** Memory for `length` elements: what they hold is undefined unless `zero` (CPU only). */
export function allocate(dtype: DType, length: number, zero = false, device = 'cpu'): Storage {
  if (device !== 'cpu') return allocateOn(device, dtype, length)
  const key = keyOf(dtype, length)
  const recycled = shelves.get(key)?.pop()
  if (recycled) {
    shelvedBytes -= recycled.byteLength
    if (zero) recycled.fill(0)
    return new Storage(recycled, key, true)
  }
  if (length * bytesOf(dtype) >= largeBytes) {
    const other = standIn(dtype, length)
    if (other) {
      if (zero) other.array.fill(0)
      return other
    }
  }
  made++
  try {
    return new Storage(newArray(dtype, length), key, true)
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
  largeKeys.clear()
  shelvedBytes = 0
}

/** Bytes that wait to be reused, and the most that may (1 GiB unless set). */
export function recycledMemory(limit?: number): { bytes: number; limit: number } {
  if (limit !== undefined) {
    shelfLimit = checkNumber(limit, 'limit', 0)
    if (shelvedBytes > shelfLimit) clearRecycled()
  }
  return { bytes: shelvedBytes, limit: shelfLimit }
}
