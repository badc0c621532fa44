/**
 * The header of a safetensors file: eight bytes with its length (little endian), JSON, then the data.
 * Source: the format's description in huggingface/safetensors. Everything in it is distrusted.
 */

import { FormatError } from '../engine/errors.js'

/** Bytes an element of each element type of the format that has whole bytes. */
export const elementBytes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
}

/** One tensor's place in the file. */
export interface Entry {
  /** The format's name for the element type: 'F32', 'BF16', … */
  readonly type: string
  readonly shape: readonly number[]
  /** Bytes from the start of the file. */
  readonly begin: number
  readonly end: number
}

/** A parsed header. */
export interface Header {
  readonly entries: ReadonlyMap<string, Entry>
  readonly metadata: Readonly<Record<string, string>>
}

/** The longest header that the format allows. */
export const maxHeaderBytes = 100_000_000

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0

/**
 * Length of the JSON part, from the first eight bytes and the file's size.
 *
 * @throws FormatError when the file cannot hold what it announces.
 */
export function headerLength(prefix: Uint8Array, fileSize: number, path: string): number {
  if (fileSize < 8 || prefix.length < 8) {
    throw new FormatError(`${path}: ${fileSize} bytes are too few for a safetensors file`)
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(Math.min(fileSize - 8, maxHeaderBytes))) {
    throw new FormatError(
      `${path}: the header announces ${length} bytes; the file has ${fileSize} and the format allows ${maxHeaderBytes}`,
    )
  }
  return Number(length)
}

/**
 * Parses the JSON part and checks that the tensors fill the rest of the file without gap or overlap.
 *
 * @throws FormatError naming the first thing that is wrong.
 */
export function parseHeader(json: Uint8Array, fileSize: number, path: string): Header {
  const fail = (what: string): never => {
    throw new FormatError(`${path}: ${what}`)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json))
  } catch (error) {
    fail(`the header is no JSON text (${(error as Error).message})`)
  }
  if (!isRecord(parsed)) return fail('the header is no JSON object')

  const dataStart = 8 + json.length
  const entries = new Map<string, Entry>()
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '__metadata__') {
      if (!isRecord(value) || Object.values(value).some((text) => typeof text !== 'string')) {
        return fail('__metadata__ must map names to strings')
      }
      metadata = value as Record<string, string>
      continue
    }
    entries.set(name, parseEntry(name, value, dataStart, fileSize, fail))
  }

  let at = dataStart
  const ordered = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  for (const [name, { begin, end }] of ordered) {
    if (begin !== at) fail(`tensor '${name}' begins at byte ${begin}, expected ${at}`)
    at = end
  }
  if (at !== fileSize) fail(`the tensors end at byte ${at}, the file at ${fileSize}`)
  return { entries, metadata }
}

function parseEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileSize: number,
  fail: (what: string) => never,
): Entry {
  if (!isRecord(value)) return fail(`tensor '${name}' is described by no object`)
  const { dtype, shape, data_offsets: offsets } = value
  const bytes = typeof dtype === 'string' ? elementBytes[dtype] : undefined
  if (bytes === undefined) return fail(`tensor '${name}' has the unknown dtype ${String(dtype)}`)
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    return fail(`tensor '${name}' has a malformed shape`)
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    return fail(`tensor '${name}' has malformed data_offsets`)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > fileSize - dataStart) {
    return fail(`tensor '${name}' lies at bytes ${begin} to ${end}, outside the data`)
  }
  const elements = (shape as number[]).reduce((product, extent) => product * extent, 1)
  if (elements * bytes !== end - begin) {
    return fail(
      `tensor '${name}' of shape [${shape.join(', ')}] and dtype ${dtype} needs ${elements * bytes} bytes, has ${end - begin}`,
    )
  }
  return { type: dtype as string, shape, begin: dataStart + begin, end: dataStart + end }
}

/**
 * The bytes before the data: length and JSON, padded with spaces to a multiple of eight.
 *
 * @param entries in the order in which their data will be written.
 */
export function encodeHeader(
  entries: readonly { name: string; type: string; shape: readonly number[]; bytes: number }[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const json: Record<string, unknown> = Object.create(null)
  if (metadata && Object.keys(metadata).length > 0) json['__metadata__'] = metadata
  let at = 0
  for (const { name, type, shape, bytes } of entries) {
    json[name] = { dtype: type, shape, data_offsets: [at, at + bytes] }
    at += bytes
  }
  const text = new TextEncoder().encode(JSON.stringify(json))
  const length = Math.ceil(text.length / 8) * 8
  const result = new Uint8Array(8 + length).fill(0x20)
  new DataView(result.buffer).setBigUint64(0, BigInt(length), true)
  result.set(text, 8)
  return result
}
