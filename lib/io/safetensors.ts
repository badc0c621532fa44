/** Reads and writes safetensors files, tensor by tensor. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ArgumentError, DisposedError, DTypeError, FormatError } from '../engine/errors.js'
import { native } from '../engine/native.js'
import { arrayTypes, type DType } from '../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { Tensor } from '../tensor/tensor.js'
import { writeAtomically } from './atomic.js'
import {
  type Entry,
  encodeHeader,
  type Header,
  headerLength,
  parseHeader,
} from './safetensors-header.js'

const dtypes: Readonly<Record<string, DType>> = {
  F32: 'float32',
  F64: 'float64',
  BF16: 'bfloat16',
  I32: 'int32',
  U8: 'uint8',
  BOOL: 'bool',
}
const types = Object.fromEntries(
  Object.entries(dtypes).map(([type, dtype]) => [dtype, type]),
) as Record<DType, string>

/** Options of opening a file. */
export interface OpenOptions {
  /**
   * Maps the file: tensors are views of its pages, read when they are touched; writing to one changes
   * memory, never the file. Only for files that nobody rewrites in place. False by default: tensors
   * are read into memory of their own.
   */
  map?: boolean
}

/** An open file: its header is in memory, its tensors are read when they are asked for. */
export class SafetensorsFile {
  readonly #header: Header
  #file: number | null
  readonly #mapped: ArrayBuffer | null

  /**
   * @throws FormatError where the header is malformed, or the tensors do not fill the file exactly
   */
  constructor(
    readonly path: string,
    { map = false }: OpenOptions = {},
  ) {
    const file = openSync(path, 'r')
    try {
      const { size } = fstatSync(file)
      const prefix = new Uint8Array(8)
      if (size >= 8) readFully(file, prefix, 0, path)
      const json = new Uint8Array(headerLength(prefix, size, path))
      readFully(file, json, 8, path)
      this.#header = parseHeader(json, size, path)
      this.#mapped = map ? native.mapFile(path) : null
      this.#file = file
    } catch (error) {
      closeSync(file)
      throw error
    }
  }

  /** Tensors' names in the order of the header. */
  get names(): string[] {
    return [...this.#header.entries.keys()]
  }

  /** The free-form strings of the header. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#header.metadata
  }

  /** The format's type ('F32', …) and the shape of a tensor. */
  info(name: string): { type: string; shape: readonly number[] } {
    const { type, shape } = this.#entry(name)
    return { type, shape }
  }

  #entry(name: string): Entry {
    const entry = this.#header.entries.get(name)
    if (!entry) throw new ArgumentError(`${this.path} holds no tensor '${name}'`)
    return entry
  }

  /** Reads one tensor. */
  read(name: string): Tensor {
    const { type, shape, begin, end } = this.#entry(name)
    if (this.#file === null) throw new DisposedError(`${this.path} was closed`)
    const dtype = dtypes[type]
    if (!dtype)
      throw new DTypeError(
        `tensor '${name}' of ${this.path} has dtype ${type}, which Tensor does not hold`,
      )
    const Type = arrayTypes[dtype]
    const length = (end - begin) / Type.BYTES_PER_ELEMENT
    if (this.#mapped && begin % Type.BYTES_PER_ELEMENT === 0) {
      return Tensor.from({ data: new Type(this.#mapped, begin, length), shape, dtype })
    }
    const data = new Type(length)
    readFully(this.#file, new Uint8Array(data.buffer), begin, this.path)
    return Tensor.from({ data, shape, dtype })
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file)
    this.#file = null
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function readFully(file: number, into: Uint8Array, position: number, path: string): void {
  for (let at = 0; at < into.length; ) {
    const count = readSync(file, into, at, Math.min(into.length - at, 1 << 30), position + at)
    if (count === 0)
      throw new FormatError(`${path} ends at byte ${position + at}, within its announced size`)
    at += count
  }
}

/** Opens a file for reading single tensors. */
export const openSafetensors = (path: string, options?: OpenOptions): SafetensorsFile =>
  new SafetensorsFile(path, options)

/** Reads all tensors of a file. */
export function loadSafetensors(path: string): Record<string, Tensor> {
  const file = new SafetensorsFile(path)
  try {
    return Object.fromEntries(file.names.map((name) => [name, file.read(name)]))
  } finally {
    file.close()
  }
}

/**
 * Writes tensors to a file, which is there whole or not at all. Wide types come first, so that all are
 * aligned.
 */
export function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, ArrayLike>>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const list = Object.entries(tensors).map(([name, value]) => ({ name, x: toTensor(value, name) }))
  if (list.some(({ name }) => name === '__metadata__')) {
    throw new ArgumentError("a tensor must not be named '__metadata__'")
  }
  for (const [key, text] of Object.entries(metadata)) {
    if (typeof text !== 'string') throw new ArgumentError(`metadata '${key}' must be a string`)
  }
  list.sort(
    (a, b) =>
      arrayTypes[b.x.dtype].BYTES_PER_ELEMENT - arrayTypes[a.x.dtype].BYTES_PER_ELEMENT ||
      (a.name < b.name ? -1 : 1),
  )
  const header = encodeHeader(
    list.map(({ name, x }) => ({
      name,
      type: types[x.dtype],
      shape: x.shape,
      bytes: x.byteLength,
    })),
    metadata,
  )
  writeAtomically(path, (append) => {
    append(header)
    for (const { x } of list) {
      const dense = x.contiguous ? x : x.detach().clone()
      const { array, offset, size } = dense
      append(
        new Uint8Array(
          array.buffer,
          array.byteOffset + offset * array.BYTES_PER_ELEMENT,
          size * array.BYTES_PER_ELEMENT,
        ),
      )
      if (dense !== x) dense.dispose()
    }
  })
}
