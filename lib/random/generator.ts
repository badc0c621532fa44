/** Random numbers indexed by position: Philox4x32-10 (Salmon et al. 2011), in TypeScript. */

import { checkInteger } from '../engine/check.js'

/** The upper 32 bits of a product of 32-bit numbers. */
function high(a: number, b: number): number {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const middle = a1 * b0 + ((a0 * b0) >>> 16)
  const carry = (middle & 0xffff) + a0 * b1
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0
}

/** The four 32-bit numbers at a counter, for a key of two. */
export function philox(counter: readonly number[], key: readonly [number, number]): number[] {
  let [c0, c1, c2, c3] = counter as [number, number, number, number]
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const h0 = high(0xd2511f53, c0)
    const l0 = Math.imul(0xd2511f53, c0) >>> 0
    const h1 = high(0xcd9e8d57, c2)
    const l1 = Math.imul(0xcd9e8d57, c2) >>> 0
    c0 = (h1 ^ c1 ^ k0) >>> 0
    c1 = l1
    c2 = (h0 ^ c3 ^ k1) >>> 0
    c3 = l0
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
  return [c0, c1, c2, c3]
}

/** A stream of random numbers: the same seed gives the same numbers; `position` can be saved. */
export class Generator {
  /** Numbers drawn so far. */
  position = 0
  readonly seed: number
  #block: number[] = []
  #blockIndex = -1

  constructor(seed = 0) {
    this.seed = checkInteger(seed, 'seed', 0)
  }

  /** A 32-bit integer. */
  next(): number {
    const index = Math.floor(this.position / 4)
    if (index !== this.#blockIndex) {
      const key: [number, number] = [this.seed >>> 0, Math.floor(this.seed / 2 ** 32) >>> 0]
      this.#block = philox([index >>> 0, Math.floor(index / 2 ** 32) >>> 0, 0, 0], key)
      this.#blockIndex = index
    }
    return this.#block[this.position++ % 4] as number
  }

  /** A number in [0, 1) with 24 bits. */
  uniform(): number {
    return (this.next() >>> 8) / 2 ** 24
  }

  /** A standard normal number (Box–Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    return radius * Math.cos(2 * Math.PI * this.uniform())
  }

  /** An integer in [0, n), n at most 2^32; the bias is below n/2^32. */
  integer(n: number): number {
    return Math.floor((this.next() / 2 ** 32) * n)
  }

  /** The numbers 0 … n − 1 in random order (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i)
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1)
      const kept = order[i] as number
      order[i] = order[j] as number
      order[j] = kept
    }
    return order
  }
}
