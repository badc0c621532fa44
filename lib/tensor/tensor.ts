/** The tensor: a typed array with a shape. */

import type { NdArray } from 'ndarray'
import { backward } from '../autograd/backward.js'
import * as ops from '../autograd/ops/index.js'
import type { Node } from '../autograd/tape.js'
import { checkFunction, wrong } from '../engine/check.js'
import { ArgumentError, DisposedError, ShapeError } from '../engine/errors.js'
import type { NativeBuffer } from '../engine/native.js'
import { deviceId } from '../engine/plugins.js'
import { bytesOf, type DType, dtypeCodes, isFloating, type TypedArray } from './dtype.js'
import { type ArrayLike, checkTensor, describe, toNdarray, toTensor } from './interop.js'
import { Operations } from './operations.js'
import { track } from './scope.js'
import { isContiguous, type Shape, shownShape, sizeOf, stridesOf } from './shape.js'
import { adopt, allocate, type Storage } from './storage.js'

/** What arithmetic takes: a tensor, anything that `Tensor.from` takes, or a number. */
export type Operand = ArrayLike | number

/** Arrays of numbers, as deep as the tensor has axes. */
export type Nested = number | Nested[]

/** Elements of one type with a shape. Its operations are in operations.ts. */
export class Tensor extends Operations {
  readonly shape: Shape
  /** In elements; 0 repeats, negative walks backwards. */
  readonly strides: Shape
  readonly dtype: DType
  /** Index of element [0, …, 0] in the storage. */
  readonly offset: number
  /** Where the elements are: 'cpu', 'cuda:0' … */
  readonly device: string
  /** Whether `backward()` shall find this tensor's gradient. */
  requiresGrad = false
  /** Survives the scope that it was made in. */
  kept = false
  /** How this tensor was computed, while the tape keeps that. */
  node: Node | null = null
  /**
   * Who may hold this tensor. 'anyone' until a layer says that it made and used it up inside: then only the
   * 'tape' does, which gives the memory back with the record. Code outside the package that was shown the
   * tensor (hooks, modules of users) may hold it: 'outside' stays.
   */
  holder: 'anyone' | 'tape' | 'outside' = 'anyone'
  #storage: Storage | null
  #grad: Tensor | null = null
  #hooks: Set<(grad: Tensor) => Tensor | undefined> | null = null

  /** For the package's own use; people call `tensor`, `zeros` … or `Tensor.from`. */
  constructor(
    storage: Storage,
    dtype: DType,
    shape: Shape,
    strides: Shape = stridesOf(shape),
    offset = 0,
  ) {
    super()
    this.#storage = storage
    this.device = storage.device
    this.dtype = dtype
    this.shape = shape
    this.strides = strides
    this.offset = offset
    track(this)
  }

  // ---- making ------------------------------------------------------------------------------------

  /** A new tensor whose elements are undefined. */
  static empty(shape: Shape, dtype: DType = 'float32', device = 'cpu'): Tensor {
    return new Tensor(allocate(dtype, sizeOf(shape), false, device), dtype, shape)
  }

  /**
   * A tensor over the memory of a tensor, an ndarray or `{ data, shape, dtype? }`, without a copy.
   * Uint16Array counts as bfloat16 and Uint8Array as uint8 unless `dtype` says 'bool'.
   */
  static from(value: ArrayLike): Tensor {
    if (value instanceof Tensor) return checkTensor(value, 'array')
    const { data, dtype, shape, strides, offset } = describe(value)
    return new Tensor(adopt(data), dtype, shape, strides, offset)
  }

  /** The memory, shared with all views. For the package's own use: people read `data`. */
  get storage(): Storage {
    if (!this.#storage)
      throw new DisposedError(
        `a tensor of shape ${shownShape(this.shape)} was used after dispose()`,
      )
    return this.#storage
  }

  /** The whole typed array that views share; element i of a contiguous tensor is at offset + i. */
  get array(): TypedArray {
    return this.storage.array
  }

  /** The memory that views share, as native calls take it from any device. */
  get buffer(): NativeBuffer {
    return this.storage.buffer
  }

  get dtypeCode(): number {
    return dtypeCodes[this.dtype]
  }

  // ---- looking -----------------------------------------------------------------------------------

  /** The number of axes. */
  get rank(): number {
    return this.shape.length
  }

  /** The number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** The bytes of the elements. */
  get byteLength(): number {
    return this.size * bytesOf(this.dtype)
  }

  /** True where elements lie one after the other in row-major order. */
  get contiguous(): boolean {
    return isContiguous(this.shape, this.strides)
  }

  get disposed(): boolean {
    return this.#storage === null
  }

  /**
   * The elements in row-major order as a typed array over the tensor's own memory: writing to it
   * writes to the tensor. A view whose elements do not lie so throws ShapeError: call `clone()` or
   * `toArray()`.
   */
  get data(): TypedArray {
    const { storage, size } = this
    if (!this.contiguous) {
      throw new ShapeError(
        `a view of shape ${shownShape(this.shape)} and strides ${shownShape(this.strides)} is not contiguous: use clone() or toArray()`,
      )
    }
    const { array } = storage
    storage.recyclable = false
    if (this.offset === 0 && array.length === size) return array
    return array.subarray(this.offset, this.offset + size)
  }

  /** The elements as nested arrays of numbers (bool as 0 and 1). */
  toArray(): Nested {
    const values = ops.numbers(this)
    let at = 0
    const nest = (axis: number): Nested => {
      if (axis === this.rank) return values[at++] as number
      return Array.from({ length: this.shape[axis] as number }, () => nest(axis + 1))
    }
    return nest(0)
  }

  /** The only element of a tensor of size 1. */
  item(): number {
    if (this.size !== 1) {
      throw new ShapeError(`item() needs one element, but the shape is ${shownShape(this.shape)}`)
    }
    if (this.device === 'cpu' && (this.dtype === 'float32' || this.dtype === 'float64'))
      return this.array[this.offset] as number
    return ops.numbers(this)[0] as number
  }

  /** A copy of the elements, from any device. */
  async read(): Promise<TypedArray> {
    return ops.read(this)
  }

  /** An ndarray over the same memory. bfloat16 shows its bits. */
  toNdarray(): NdArray<TypedArray> {
    if (this.array) this.storage.recyclable = false
    return toNdarray(this)
  }

  override toString(): string {
    return `Tensor ${this.dtype} ${shownShape(this.shape)}`
  }

  // ---- life --------------------------------------------------------------------------------------

  /** Gives the memory back. Views of it live on; using this tensor again throws DisposedError. */
  dispose(): void {
    this.#storage?.release()
    this.#storage = null
    this.node = null
    this.#grad = null
  }

  /** Gives the memory back but stays on the tape: for what nobody reads any more. For the package's own use. */
  letGo(): void {
    this.#storage?.release()
    this.#storage = null
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Lets the tensor survive the scope that it was made in; returns it. */
  keep(): this {
    this.kept = true
    return this
  }

  /**
   * Takes over another tensor's memory, dtype, shape and place, and disposes that one; views of the old
   * memory live on, the gradient is dropped. For the package's own use (Module.to).
   */
  become(other: Tensor): void {
    const storage = other.storage
    storage.references++
    this.#storage?.release()
    this.#storage = storage
    this.grad = null
    const { dtype, shape, strides, offset, device } = other
    Object.assign(this, { dtype, shape, strides, offset, device })
    other.dispose()
  }

  /** A copy with memory of its own; gradients flow through. */
  clone(): Tensor {
    return ops.clone(this)
  }

  /** A view of the same elements that gradients do not pass. */
  detach(): Tensor {
    this.storage.references++
    return new Tensor(this.storage, this.dtype, this.shape, this.strides, this.offset)
  }

  /** The tensor in another dtype or on another device; itself where nothing changes. */
  to(target: DType | (string & {})): Tensor {
    if (target === this.dtype || target === this.device) return this
    if (target in dtypeCodes) return ops.cast(this, target as DType)
    const device = typeof target === 'string' ? deviceId(target) : null
    if (device !== null) return device === this.device ? this : ops.toDevice(this, device)
    return wrong('target', 'a dtype or a device', target)
  }

  // ---- gradients ---------------------------------------------------------------------------------

  /** The gradient that `backward()` left here, summed over calls until it is set to null. */
  get grad(): Tensor | null {
    return this.#grad
  }

  set grad(value: Tensor | null) {
    if (value === this.#grad) return
    if (value !== null) {
      checkTensor(value, 'grad')
      if (shownShape(value.shape) !== shownShape(this.shape)) {
        throw new ShapeError(
          `'grad' has shape ${shownShape(value.shape)}, the tensor ${shownShape(this.shape)}`,
        )
      }
      value.keep()
    }
    this.#grad?.dispose()
    this.#grad = value
  }

  /** Asks for gradients of this tensor; returns it. Only floating tensors have them. */
  requireGrad(required = true): this {
    if (required && !isFloating(this.dtype)) {
      throw new ArgumentError(`a tensor of dtype ${this.dtype} has no gradient`)
    }
    this.requiresGrad = required
    return this
  }

  /**
   * Adds d(this)/dx to the `grad` of every leaf x that requires it.
   *
   * @param gradient d(loss)/d(this); 1 for a scalar.
   */
  backward(
    gradient?: ArrayLike,
    options: { retainGraph?: boolean; createGraph?: boolean } = {},
  ): void {
    backward(this, gradient === undefined ? undefined : toTensor(gradient, 'gradient'), options)
  }

  /** Calls `hook` with the gradient of this tensor when it is known; what it returns replaces it. */
  registerHook(hook: (grad: Tensor) => Tensor | undefined): () => void {
    checkFunction(hook, 'hook')
    this.#hooks ??= new Set()
    this.#hooks.add(hook)
    return () => void this.#hooks?.delete(hook)
  }

  /** The hooks in order, for the tape. */
  get hooks(): Iterable<(grad: Tensor) => Tensor | undefined> | null {
    return this.#hooks
  }

  /** The matrix transpose. */
  get T(): Tensor {
    return ops.transpose(this, -2, -1)
  }
}
