/** Random numbers indexed by position: Philox4x32-10 (Salmon et al. 2011), drawn by the engine. */

import { begin, number, view } from '../engine/call.js'
import { checkInteger, wrong } from '../engine/check.js'
import { native } from '../engine/native.js'
import type { arrayTypes } from '../tensor/dtype.js'
import type { Tensor } from '../tensor/tensor.js'

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

/** The four 32-bit numbers at a counter, for a key of two: the plain form of what the engine does. */
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

/** Single numbers are taken from a block that is drawn at once. */
const blockLength = 256

const vector = (array: Int32Array | Float32Array) => ({
  dtypeCode: array instanceof Int32Array ? 3 : 0,
  offset: 0,
  shape: [array.length],
  strides: [1],
})

/** A saved place in a stream. */
export interface GeneratorState {
  seed: number
  position: number
}

/**
 * A stream of random numbers: the same seed gives the same numbers on every machine and for any number
 * of threads. Every number takes one position of the stream, whatever it is drawn by, so that
 * `position` can be saved, set and moved.
 */
export class Generator {
  /** Numbers drawn so far. */
  position = 0
  #seed: number
  #words = new Int32Array(0)
  #wordsAt = -1
  #normals = new Float32Array(0)
  #normalsAt = -1

  constructor(seed = 0) {
    this.#seed = checkInteger(seed, 'seed', 0)
  }

  /** What the stream is made from. */
  get seed(): number {
    return this.#seed
  }

  /** Where the stream stands, for checkpoints. */
  stateDict(): GeneratorState {
    return { seed: this.#seed, position: this.position }
  }

  /** Goes to a saved place, perhaps of another seed's stream. */
  loadStateDict(state: GeneratorState): void {
    const seed = checkInteger(state?.seed, 'state.seed', 0)
    const position = checkInteger(state?.position, 'state.position', 0)
    this.#seed = seed
    this.position = position
    this.#wordsAt = this.#normalsAt = -1
  }

  #stream(position: number): void {
    number(this.seed)
    number(position)
  }

  /** A 32-bit integer. */
  next(): number {
    const at = this.position % blockLength
    if (this.position - at !== this.#wordsAt) {
      this.#wordsAt = this.position - at
      if (this.#words.length === 0) this.#words = new Int32Array(blockLength)
      begin()
      view(vector(this.#words))
      this.#stream(this.#wordsAt)
      number(0)
      number(2 ** 32)
      native.randomIntegers(this.#words)
    }
    this.position++
    return (this.#words[at] as number) >>> 0
  }

  /** A number in [0, 1) with 24 bits. */
  uniform(): number {
    return (this.next() >>> 8) / 2 ** 24
  }

  /**
   * A standard normal number in float32 (Box–Muller: numbers 2j and 2j + 1 of the stream are made of
   * the words at these positions).
   */
  normal(): number {
    const at = this.position % blockLength
    if (this.position - at !== this.#normalsAt) {
      this.#normalsAt = this.position - at
      if (this.#normals.length === 0) this.#normals = new Float32Array(blockLength)
      begin()
      view(vector(this.#normals))
      this.#stream(this.#normalsAt)
      number(0)
      number(1)
      native.randomNormal(this.#normals)
    }
    this.position++
    return this.#normals[at] as number
  }

  /** An integer in [0, n), n in [1, 2^32]; the bias is below n/2^32. */
  integer(n: number): number {
    checkInteger(n, 'n', 1, 2 ** 32)
    return n === 2 ** 32 ? this.next() : high(this.next(), n)
  }

  /** The numbers 0 … n − 1 in random order (Fisher–Yates, from the end; n − 1 positions). */
  permutation(n: number): Int32Array {
    checkInteger(n, 'n', 0, 2 ** 31 - 1)
    const order = new Int32Array(n)
    begin()
    view(vector(order))
    this.#stream(this.position)
    native.randomPermutation(order)
    this.position += Math.max(0, n - 1)
    return order
  }

  /**
   * Overwrites a contiguous tensor: 'uniform' a + b·u with u in [0, 1), 'normal' a + b·z, 'integers'
   * a + an integer in [0, b). The numbers are those that single draws would give.
   */
  fill(x: Tensor, kind: 'uniform' | 'normal' | 'integers', a: number, b: number): Tensor {
    if (!x.contiguous) wrong('x', 'a contiguous tensor', x.strides)
    begin()
    view(x)
    this.#stream(this.position)
    number(a)
    number(b)
    const { buffer } = x
    if (kind === 'uniform') native.randomUniform(buffer)
    else if (kind === 'normal') native.randomNormal(buffer)
    else native.randomIntegers(buffer)
    this.position += x.size
    return x
  }

  /** Takes the next `count` positions; returns where they begin. */
  skip(count: number): number {
    const { position } = this
    this.position += checkInteger(count, 'count', 0)
    return position
  }
}

/** The dtypes that each kind of filling writes itself. */
export const filled = {
  uniform: ['float32', 'float64', 'bfloat16'],
  normal: ['float32', 'float64', 'bfloat16'],
  integers: ['int32', 'float32', 'float64'],
} as const satisfies Record<string, readonly (keyof typeof arrayTypes)[]>
