/** Reads safetensors files, tensor by tensor. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { checkInteger, checkOptions, checkPath, wrong } from '../engine/check.js'
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  FormatError,
  ShapeError,
} from '../engine/errors.js'
import { native } from '../engine/native.js'
import { arrayTypes, type DType } from '../tensor/dtype.js'
import { Tensor } from '../tensor/tensor.js'
import { reached } from './atomic.js'
import { convertForeign } from './foreign.js'
import {
  type Entry,
  elementBytes,
  type Header,
  headerLength,
  parseHeader,
} from './safetensors-header.js'

/** What Tensor calls the format's types. */
export const dtypes: Readonly<Record<string, DType>> = {
  F32: 'float32',
  F64: 'float64',
  BF16: 'bfloat16',
  I32: 'int32',
  U8: 'uint8',
  BOOL: 'bool',
}
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
    options: OpenOptions = {},
  ) {
    const { map = false } = checkOptions(options)
    checkPath(path)
    const file = reached(path, 'path', () => openSync(path, 'r'))
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
    if (!entry) throw new ArgumentError(`'name': ${this.path} holds no tensor '${String(name)}'`)
    return entry
  }

  /**
   * Reads one tensor, or some of the entries along its first axis. Types that Tensor does not hold come
   * as the nearest that it does: F16 and F8 as float32, other integers as int32.
   *
   * @param rows [begin, end) of the first axis: the rest is not read
   * @throws FormatError where an integer does not fit int32
   */
  read(name: string, options: { rows?: readonly [number, number] } = {}): Tensor {
    const { rows } = checkOptions(options)
    const entry = this.#entry(name)
    if (this.#file === null) throw new DisposedError(`${this.path} was closed`)
    const { type } = entry
    const { shape, begin, end } = rows ? sliceOf(name, entry, rows) : entry
    const dtype = dtypes[type]
    if (!dtype) {
      const width = elementBytes[type] as number
      const converted = convertForeign(type, this.#bytes(begin, end), width, name)
      if (!converted) {
        throw new DTypeError(
          `tensor '${name}' of ${this.path} has dtype ${type}, which Tensor does not hold`,
        )
      }
      return Tensor.from({ ...converted, shape })
    }
    const Type = arrayTypes[dtype]
    const length = (end - begin) / Type.BYTES_PER_ELEMENT
    if (this.#mapped && begin % Type.BYTES_PER_ELEMENT === 0) {
      return Tensor.from({ data: new Type(this.#mapped, begin, length), shape, dtype })
    }
    // Memory of tensors that were disposed comes back: reading in pieces asks for none after the first.
    const x = Tensor.empty(shape, dtype)
    const { buffer, byteOffset } = x.array
    readFully(this.#file, new Uint8Array(buffer, byteOffset, end - begin), begin, this.path)
    return x
  }

  /** The bytes of one tensor as they stand in the file. */
  readBytes(name: string): Uint8Array {
    const { begin, end } = this.#entry(name)
    return this.#bytes(begin, end)
  }

  #bytes(begin: number, end: number): Uint8Array {
    if (this.#file === null) throw new DisposedError(`${this.path} was closed`)
    const bytes = new Uint8Array(end - begin)
    readFully(this.#file, bytes, begin, this.path)
    return bytes
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

/** The place of some entries along a tensor's first axis. */
function sliceOf(name: string, entry: Entry, rows: readonly [number, number]) {
  const { shape, begin, end } = entry
  const [extent, ...rest] = shape
  if (extent === undefined) throw new ShapeError(`'${name}' is a scalar and has no rows`)
  if (!Array.isArray(rows) || rows.length !== 2) wrong('rows', 'a pair [begin, end]', rows)
  const first = checkInteger(rows[0], 'rows', 0, extent)
  const last = checkInteger(rows[1], 'rows', first, extent)
  const width = extent === 0 ? 0 : (end - begin) / extent
  return {
    shape: [last - first, ...rest],
    begin: begin + first * width,
    end: begin + last * width,
  }
}

/** Opens a file for reading single tensors. */
export const openSafetensors = (path: string, options?: OpenOptions): SafetensorsFile =>
  new SafetensorsFile(path, options)

/** Reads all tensors of a file. */
export function loadSafetensors(path: string): Record<string, Tensor> {
  using file = new SafetensorsFile(path)
  return Object.fromEntries(file.names.map((name) => [name, file.read(name)]))
}
