/** Packed masks: one bit an entry. */

import { begin, flatView, number, view } from '../engine/call.js'
import { checkInstance, checkInteger, requireOptions, wrong } from '../engine/check.js'
import { ArgumentError, DisposedError, FormatError, ShapeError } from '../engine/errors.js'
import { type DeviceBuffer, type NativeBuffer, native } from '../engine/native.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { checkShape, type Shape, sameShape, shownShape, sizeOf } from '../tensor/shape.js'
import { allocate, type Storage } from '../tensor/storage.js'
import { Tensor } from '../tensor/tensor.js'

// The numbers of MaskLogic in native/include/palimpsest/kernels/masks.h.
const logic = { and: 0, or: 1, xor: 2, andNot: 3, not: 4 } as const

/** Bytes of a mask: whole 64-bit words. */
export const maskBytes = (entries: number): number => Math.ceil(entries / 64) * 8

/** A mask's bytes as the engine sees them. */
export const describeBits = (bits: Uint8Array) => bitsOf(bits.length * 8)

/** The same, by the number of entries. */
export const bitsOf = (entries: number) => ({
  dtypeCode: 4,
  offset: 0,
  shape: [maskBytes(entries)],
  strides: [1],
})

const memoryFor = (bits: Uint8Array, device: string) =>
  allocate('uint8', bits.length, false, device).buffer as DeviceBuffer

/**
 * A mask over a tensor's entries in row-major order, which never changes. Entry i is bit i mod 8 of
 * byte ⌊i/8⌋ of `bits`; the bytes are filled up to whole 64-bit words with zeros. Saved in safetensors
 * files as a U8 tensor of these bytes, with the shape in the metadata (`packMasks`). `dispose()` (or
 * `using`) gives the bytes back for the next mask at once; else the garbage collector does, later.
 */
export class Mask {
  readonly shape: Shape
  #bits: Uint8Array | null
  /** Where the bits lie in memory of ours. */
  #storage: Storage | null = null
  #count = -1
  /** The bits on other devices. */
  #copies?: Map<string, DeviceBuffer> | undefined

  /**
   * @param bits ⌈entries/64⌉·8 bytes, taken over without a copy where they begin at a multiple of 8
   *   bytes; all off where missing
   * @throws ShapeError where the length does not fit, FormatError where a bit beyond the entries is on
   */
  constructor(shape: Shape, bits?: Uint8Array) {
    this.shape = checkShape(shape)
    const bytes = maskBytes(this.size)
    if (bits === undefined) {
      this.#storage = allocate('uint8', bytes, true)
      this.#bits = this.#storage.array as Uint8Array
      return
    }
    if (!(bits instanceof Uint8Array)) wrong('bits', 'a Uint8Array', bits)
    if (bits.length !== bytes) {
      throw new ShapeError(
        `'bits' has ${bits.length} bytes, the shape ${shownShape(this.shape)} needs ${bytes}`,
      )
    }
    this.#bits = bits.byteOffset % 8 === 0 ? bits : bits.slice()
    for (let i = this.size; i < bytes * 8; i++) {
      if (((this.#bits[i >> 3] as number) >> (i & 7)) & 1) {
        throw new FormatError(`bit ${i} is on in a mask of ${this.size} entries`)
      }
    }
  }

  /** A mask whose bits somebody is about to write, all of them. */
  static #unwritten(shape: Shape): Mask {
    const storage = allocate('uint8', maskBytes(sizeOf(checkShape(shape))))
    const bits = storage.array as Uint8Array
    bits.fill(0, Math.max(0, bits.length - 8))
    const mask = new Mask(shape, bits)
    mask.#storage = storage
    return mask
  }

  /** The packed bits; do not write to them. Once they were seen their memory is not used again. */
  get bits(): Uint8Array {
    const { memory } = this
    if (this.#storage) this.#storage.recyclable = false
    return memory
  }

  /**
   * The packed bits for somebody who keeps no hold of them.
   *
   * @internal
   */
  get memory(): Uint8Array {
    if (this.#bits === null) {
      throw new DisposedError(`a mask of shape ${shownShape(this.shape)} was used after dispose()`)
    }
    return this.#bits
  }

  /** Whether the memory was given back. */
  get disposed(): boolean {
    return this.#bits === null
  }

  /** Gives the memory back; using the mask again throws DisposedError. */
  dispose(): void {
    if (this.#bits === null) return
    this.#storage?.release()
    this.#bits = null
    this.#copies = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /**
   * The masks that `write` makes on a device: it is given the memory for each one's bits.
   *
   * @internal
   */
  static writtenOn(
    device: string,
    shapes: readonly Shape[],
    write: (buffers: NativeBuffer[]) => void,
  ): Mask[] {
    const masks = shapes.map((shape) => Mask.#unwritten(shape))
    if (device === 'cpu') {
      try {
        write(masks.map(({ memory }) => memory))
      } catch (error) {
        for (const mask of masks) mask.dispose()
        throw error
      }
      return masks
    }
    const buffers = masks.map(({ memory }) => memoryFor(memory, device))
    write(buffers)
    for (const [i, { memory }] of masks.entries()) {
      native.download(buffers[i] as DeviceBuffer, 0, memory)
    }
    for (const [i, mask] of masks.entries()) {
      mask.#copies = new Map([[device, buffers[i] as DeviceBuffer]])
    }
    return masks
  }

  /**
   * The bits in the memory of a device, which keeps them as long as the mask lives.
   *
   * @internal
   */
  bitsOn(device: string): NativeBuffer {
    if (device === 'cpu') return this.memory
    this.#copies ??= new Map()
    const known = this.#copies.get(device)
    if (known) return known
    const copy = memoryFor(this.memory, device)
    native.upload(copy, this.memory)
    this.#copies.set(device, copy)
    return copy
  }

  /** Entries. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** Whether an entry, counted in row-major order, is on. */
  at(index: number): boolean {
    checkInteger(index, 'index', 0, this.size - 1)
    return (((this.memory[Math.floor(index / 8)] as number) >> (index % 8)) & 1) === 1
  }

  /** How many entries are on. */
  count(): number {
    if (this.#count < 0) {
      begin()
      view(describeBits(this.memory))
      number(this.size)
      this.#count = native.maskCount(this.memory) as number
    }
    return this.#count
  }

  /** The part of the entries that is on; 0 for an empty mask. */
  density(): number {
    return this.size === 0 ? 0 : this.count() / this.size
  }

  #combine(op: keyof typeof logic, other: Mask | null): Mask {
    if (op !== 'not') checkInstance(other, Mask, 'mask')
    if (other !== null) {
      this.#sameShape(other.shape)
    }
    const out = Mask.#unwritten(this.shape)
    begin()
    view(describeBits(this.memory))
    if (other) view(describeBits(other.memory))
    view(describeBits(out.memory))
    number(logic[op])
    number(this.size)
    native.maskLogic(this.memory, other?.memory ?? null, out.memory)
    return out
  }

  #sameShape(shape: Shape): void {
    if (!sameShape(shape, this.shape)) {
      throw new ShapeError(
        `the mask has shape ${shownShape(this.shape)}, the other operand ${shownShape(shape)}`,
      )
    }
  }

  and(other: Mask): Mask {
    return this.#combine('and', other)
  }
  or(other: Mask): Mask {
    return this.#combine('or', other)
  }
  xor(other: Mask): Mask {
    return this.#combine('xor', other)
  }
  /** On here and off there. */
  andNot(other: Mask): Mask {
    return this.#combine('andNot', other)
  }
  not(): Mask {
    return this.#combine('not', null)
  }

  /** Whether shapes and bits are the same. */
  equals(other: Mask): boolean {
    checkInstance(other, Mask, 'mask')
    return sameShape(other.shape, this.shape) && Buffer.compare(this.memory, other.memory) === 0
  }

  /** A tensor of 0 and 1: bool by default. */
  toTensor(
    dtype: 'bool' | 'uint8' | 'float32' | 'float64' | 'bfloat16' | 'int32' = 'bool',
  ): Tensor {
    const y = Tensor.empty(this.shape, dtype === 'uint8' ? 'uint8' : 'bool')
    begin()
    view(describeBits(this.memory))
    view(y)
    native.maskUnpack(this.memory, y.array)
    return y.to(dtype)
  }

  /** A new tensor with `x` where the mask is on, and 0 elsewhere (also where x is NaN). No gradient. */
  apply(x: ArrayLike): Tensor {
    const source = toTensor(x, 'x').detach()
    return this.#applyInto(source, Tensor.empty(source.shape, source.dtype, source.device))
  }

  /** Zeroes the entries of a contiguous tensor that are off; returns it. */
  applyInto(x: ArrayLike): Tensor {
    const target = toTensor(x, 'x')
    if (!target.contiguous)
      throw new ShapeError("'x' is not contiguous and cannot be masked in place")
    return this.#applyInto(target, target)
  }

  #applyInto(source: Tensor, target: Tensor): Tensor {
    this.#sameShape(source.shape)
    const dense = source.contiguous ? source : source.clone()
    const bits = this.bitsOn(dense.device)
    begin()
    view(describeBits(this.memory))
    view(dense)
    view(target)
    native.maskApply(bits, dense.buffer, target.buffer)
    return target
  }

  /** The entries that are not zero; NaN counts as not zero. */
  static fromTensor(x: ArrayLike): Mask {
    const source = toTensor(x, 'x').detach()
    const dense = source.contiguous ? source : source.clone()
    const [mask] = Mask.writtenOn(dense.device, [source.shape], ([bits]) => {
      begin()
      view(dense)
      view(bitsOf(dense.size))
      native.maskPack(dense.buffer, bits as NativeBuffer)
    })
    return mask as Mask
  }

  /** All entries on. */
  static full(shape: Shape): Mask {
    return new Mask(shape).not()
  }
}

/** The metadata key of a mask's shape in a safetensors file. */
const shapeKey = (name: string) => `mask:${name}`

/**
 * Masks as tensors and metadata for `saveSafetensors`: each is a U8 tensor of its bytes under its name
 * (entry i is bit i mod 8 of byte ⌊i/8⌋, filled up to whole 64-bit words with zeros), its shape stands
 * as JSON in the metadata under `mask:<name>`.
 */
export function packMasks(masks: Readonly<Record<string, Mask>>): {
  tensors: Record<string, Tensor>
  metadata: Record<string, string>
} {
  requireOptions(masks, 'masks')
  const tensors: Record<string, Tensor> = {}
  const metadata: Record<string, string> = {}
  for (const [name, mask] of Object.entries(masks)) {
    if (!(mask instanceof Mask)) wrong(`masks.${name}`, 'a Mask', mask)
    tensors[name] = Tensor.from({ data: mask.bits, shape: [mask.bits.length] })
    metadata[shapeKey(name)] = JSON.stringify(mask.shape)
  }
  return { tensors, metadata }
}

/**
 * The masks among a file's tensors.
 *
 * @throws FormatError where shape and bytes do not fit each other
 */
export function unpackMasks(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>>,
): Record<string, Mask> {
  requireOptions(tensors, 'tensors')
  requireOptions(metadata, 'metadata')
  const masks: Record<string, Mask> = {}
  for (const [key, text] of Object.entries(metadata)) {
    if (!key.startsWith('mask:')) continue
    const name = key.slice('mask:'.length)
    const x = tensors[name]
    if (x?.dtype !== 'uint8') throw new FormatError(`no U8 tensor '${name}' for the mask`)
    try {
      masks[name] = new Mask(JSON.parse(text) as number[], new Uint8Array(x.data))
    } catch (error) {
      if (error instanceof FormatError) throw error
      throw new FormatError(`the mask '${name}' does not fit its shape ${text}`, { cause: error })
    }
  }
  return masks
}

/** A list of masks that must fit a list of shapes; null leaves a tensor whole. */
export function checkMasks(masks: unknown, shapes: readonly Shape[]): (Mask | null)[] {
  if (!Array.isArray(masks) || masks.length !== shapes.length) {
    throw new ArgumentError(`expected ${shapes.length} masks, one a tensor`)
  }
  return masks.map((mask, i) => {
    if (mask === null || mask === undefined) return null
    if (!(mask instanceof Mask)) wrong(`masks[${i}]`, 'a Mask or null', mask)
    if (!sameShape(mask.shape, shapes[i] as Shape)) {
      throw new ShapeError(
        `'masks[${i}]' has shape ${shownShape(mask.shape)}, the tensor ${shownShape(shapes[i] as Shape)}`,
      )
    }
    return mask
  })
}

/**
 * The compact vector of `to` (one value an entry that is on, in order) from that of `from`: entries in
 * both are carried over, new ones are 0.
 */
export function carryCompact(from: Mask, compact: Float32Array, to: Mask): Float32Array {
  const result = new Float32Array(to.count())
  begin()
  view(describeBits(from.bits))
  flatView(0, 0, compact.length)
  view(describeBits(to.bits))
  flatView(0, 0, result.length)
  number(to.size)
  native.maskCarry(from.bits, compact, to.bits, result)
  return result
}
