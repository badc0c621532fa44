/** An optimizer's state: vectors that lie where their parameters do. */

import { type DeviceBuffer, type NativeBuffer, native } from '../engine/native.js'
import { dtypeCodes } from '../tensor/dtype.js'
import { adopt, allocate, type Storage } from '../tensor/storage.js'
import type { StateArray } from './algorithm.js'

/** A vector of state on a device. */
export class State {
  readonly #storage: Storage
  readonly #Type: new (
    length: number,
  ) => StateArray
  readonly length: number

  /** Takes `array` over on the CPU; on another device it is copied there. */
  constructor(array: StateArray, device: string) {
    this.length = array.length
    this.#Type = array instanceof Float32Array ? Float32Array : Uint16Array
    if (device === 'cpu') {
      this.#storage = adopt(array)
      return
    }
    const dtype = array instanceof Float32Array ? 'float32' : 'bfloat16'
    this.#storage = allocate(dtype, array.length, false, device)
    native.upload(this.#storage.buffer as DeviceBuffer, array)
  }

  /** What native calls take. */
  get buffer(): NativeBuffer {
    return this.#storage.buffer
  }

  get dtypeCode(): number {
    return dtypeCodes[this.#Type === Float32Array ? 'float32' : 'bfloat16']
  }

  /** A copy of the values. */
  toArray(): StateArray {
    if (this.#storage.device === 'cpu') return (this.#storage.array as StateArray).slice()
    const array = new this.#Type(this.length)
    native.download(this.#storage.buffer as DeviceBuffer, 0, array)
    return array
  }
}
