/** Writes safetensors files, tensor by tensor: the file is there whole or not at all. */

import { checkInteger, checkOptions, checkPath, requireOptions, wrong } from '../engine/check.js'
import { ArgumentError, DisposedError, DTypeError, ShapeError } from '../engine/errors.js'
import { bytesOf, type DType, dtypeCodes } from '../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { checkShape, type Shape, sameShape, shownShape, sizeOf } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import { AtomicFile } from './atomic.js'
import { dtypes } from './safetensors.js'
import { encodeHeader, maxHeaderBytes } from './safetensors-header.js'

const types = Object.fromEntries(
  Object.entries(dtypes).map(([type, dtype]) => [dtype, type]),
) as Record<DType, string>

/** What a tensor of the file will be. */
export interface Announced {
  shape: Shape
  /** 'float32' by default. */
  dtype?: DType
}

interface Place {
  shape: number[]
  dtype: DType
  /** Bytes from the start of the file. */
  begin: number
  /** Elements written so far. */
  written: number
}

/**
 * A file whose tensors are announced first and written in any order, whole or in parts, so that they
 * need not be in memory together. Wide types come first in the file, so that all are aligned.
 *
 * ```ts
 * using writer = new SafetensorsWriter('model.safetensors', { w: { shape: [4096, 4096] } })
 * writer.write('w', tensor)
 * writer.close()   // without it the file is left as it was
 * ```
 */
export class SafetensorsWriter {
  readonly path: string
  readonly #file: AtomicFile
  readonly #places = new Map<string, Place>()
  #open = true

  constructor(
    path: string,
    announced: Readonly<Record<string, Announced>>,
    metadata: Readonly<Record<string, string>> = {},
  ) {
    checkPath(path)
    checkOptions(metadata, 'metadata')
    if (typeof announced !== 'object' || announced === null) {
      wrong('announced', 'an object of shapes and dtypes', announced)
    }
    this.path = path
    const list = Object.entries(announced).map(([name, given]) => {
      const { shape, dtype = 'float32' } = requireOptions(given, `announced.${name}`)
      if (name === '__metadata__') {
        throw new ArgumentError("a tensor must not be named '__metadata__'")
      }
      if (!(dtype in dtypeCodes)) wrong(`announced.${name}.dtype`, 'a dtype', dtype)
      return { name, dtype, shape: checkShape(shape, `announced.${name}.shape`) }
    })
    for (const [key, text] of Object.entries(metadata)) {
      if (typeof text !== 'string') throw new ArgumentError(`metadata '${key}' must be a string`)
    }
    list.sort((a, b) => bytesOf(b.dtype) - bytesOf(a.dtype) || (a.name < b.name ? -1 : 1))
    const header = encodeHeader(
      list.map(({ name, dtype, shape }) => ({
        name,
        type: types[dtype],
        shape,
        bytes: sizeOf(shape) * bytesOf(dtype),
      })),
      metadata,
    )
    if (header.length - 8 > maxHeaderBytes) {
      throw new ArgumentError(
        `a header of ${header.length - 8} bytes: the format allows ${maxHeaderBytes}`,
      )
    }
    let at = header.length
    for (const { name, dtype, shape } of list) {
      this.#places.set(name, { shape, dtype, begin: at, written: 0 })
      at += sizeOf(shape) * bytesOf(dtype)
    }
    this.#file = new AtomicFile(path)
    this.#file.write(header, 0)
  }

  /**
   * Writes a tensor, or the entries from `start` of its first axis on.
   *
   * @throws ArgumentError where the name was not announced or more is written than was
   */
  write(name: string, value: ArrayLike, start?: number): void {
    if (!this.#open) throw new DisposedError(`${this.path}: writing has ended`)
    const place = this.#places.get(name)
    if (!place) throw new ArgumentError(`'name': the tensor '${String(name)}' was not announced`)
    const x = toTensor(value, name)
    const { shape, dtype } = place
    if (x.dtype !== dtype) {
      throw new DTypeError(`'${name}' has dtype ${x.dtype}, announced was ${dtype}`)
    }
    let first = 0
    if (start === undefined) {
      if (!sameShape(x.shape, shape)) {
        throw new ShapeError(
          `'${name}' has shape ${shownShape(x.shape)}, announced was ${shownShape(shape)}`,
        )
      }
    } else {
      const fits = shape.length > 0 && sameShape(x.shape.slice(1), shape.slice(1))
      if (!fits || x.rank !== shape.length) {
        throw new ShapeError(
          `entries of shape ${shownShape(x.shape)} are no part of '${name}', ${shownShape(shape)}`,
        )
      }
      const rows = x.shape[0] as number
      first = checkInteger(start, 'start', 0, (shape[0] as number) - rows)
    }
    if (place.written + x.size > sizeOf(shape)) {
      throw new ArgumentError(`more is written of '${name}' than was announced`)
    }
    const width = sizeOf(shape.slice(1))
    const position = place.begin + first * width * bytesOf(dtype)
    withBytes(x, (bytes) => this.#file.write(bytes, position))
    place.written += x.size
  }

  /**
   * Puts the file in its place.
   *
   * @throws ArgumentError where a tensor was not written, or not whole; nothing is in its place then
   */
  close(): void {
    if (!this.#open) return
    for (const [name, { written, shape }] of this.#places) {
      if (written !== sizeOf(shape)) {
        this.abort()
        throw new ArgumentError(
          `of the tensor '${name}' ${written} elements were written, announced were ${sizeOf(shape)}`,
        )
      }
    }
    this.#open = false
    this.#file.commit()
  }

  /** Gives up: what stood at the path stays. */
  abort(): void {
    if (this.#open) this.#file.abort()
    this.#open = false
  }

  [Symbol.dispose](): void {
    this.abort()
  }
}

/** A tensor's elements in order as bytes. */
function withBytes(x: Tensor, use: (bytes: Uint8Array) => void): void {
  const here = x.device === 'cpu' ? x : x.detach().to('cpu')
  const dense = here.contiguous ? here : here.detach().clone()
  const { array, offset, size } = dense
  const width = array.BYTES_PER_ELEMENT
  use(new Uint8Array(array.buffer, array.byteOffset + offset * width, size * width))
  if (dense !== here) dense.dispose()
  if (here !== x) here.dispose()
}

/** Writes tensors to a file, which is there whole or not at all. */
export function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, ArrayLike>>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const list = Object.entries(requireOptions(tensors, 'tensors')).map(
    ([name, value]) => [name, toTensor(value, name)] as const,
  )
  // Reading the storage finds disposed tensors before a file is made.
  for (const [, x] of list) void x.storage
  using writer = new SafetensorsWriter(path, Object.fromEntries(list), metadata)
  for (const [name, x] of list) writer.write(name, x)
  writer.close()
}
