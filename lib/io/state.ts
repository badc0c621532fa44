/**
 * State as a file: a tree of plain values, typed arrays and tensors becomes one safetensors file whose
 * tensors are named by their path and whose metadata hold the rest as JSON.
 */

import { ArgumentError, FormatError } from '../engine/errors.js'

import { dtypeOf, type TypedArray } from '../tensor/dtype.js'
import { Tensor } from '../tensor/tensor.js'
import { openSafetensors } from './safetensors.js'
import { saveSafetensors } from './safetensors-writer.js'

/** What can be saved. Typed arrays and tensors come back as what they were. */
export type StateValue =
  | null
  | undefined
  | boolean
  | number
  | string
  | TypedArray
  | Tensor
  | readonly StateValue[]
  | { readonly [key: string]: StateValue }

const format = 'palimpsest state 1'

/** Separates plain values from arrays. */
function pack(value: StateValue, path: string, arrays: Record<string, Tensor>): unknown {
  if (value instanceof Tensor || ArrayBuffer.isView(value)) {
    // Names with dots in them may give two entries one path.
    let name = path || 'state'
    while (name in arrays) name += "'"
    if (value instanceof Tensor) {
      arrays[name] = value
      return { $: 'tensor', path: name }
    }
    const data = value as TypedArray
    arrays[name] = Tensor.from({ data, shape: [data.length], dtype: dtypeOf(data) })
    return { $: 'array', path: name }
  }
  // JSON has no NaN, Infinity or −0.
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { $: 'number', value: Object.is(value, -0) ? '-0' : String(value) }
  }
  if (Array.isArray(value)) return value.map((entry, i) => pack(entry, `${path}.${i}`, arrays))
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => {
        if (key === '$') throw new ArgumentError(`state '${path}' must not use the name '$'`)
        return [key, pack(entry as StateValue, path ? `${path}.${key}` : key, arrays)]
      }),
    )
  }
  if (['undefined', 'boolean', 'string'].includes(typeof value) || value === null) return value
  throw new ArgumentError(`state '${path}' is a ${typeof value}, which cannot be saved`)
}

function unpack(
  value: unknown,
  arrays: Readonly<Record<string, Tensor>>,
  file: string,
): StateValue {
  if (Array.isArray(value)) return value.map((entry) => unpack(entry, arrays, file))
  if (typeof value !== 'object' || value === null) return value as StateValue
  const record = value as Record<string, unknown>
  if (record['$'] === 'number') return Number(record['value'])
  if (record['$'] === 'tensor' || record['$'] === 'array') {
    const found = Object.hasOwn(arrays, String(record['path']))
      ? arrays[String(record['path'])]
      : undefined
    if (!found)
      throw new FormatError(`${file} lacks the tensor '${record['path']}' that it announces`)
    return record['$'] === 'tensor' ? found : found.data
  }
  return Object.fromEntries(
    Object.entries(record).map(([key, entry]) => [key, unpack(entry, arrays, file)]),
  )
}

/** Writes a state; the file is there whole or not at all. */
export function saveState(path: string, state: StateValue): void {
  const arrays: Record<string, Tensor> = {}
  const plain = pack(state, '', arrays)
  saveSafetensors(path, arrays, { format, state: JSON.stringify(plain) })
}

/**
 * Reads a state back.
 *
 * @throws FormatError where the file is none of saveState, or incomplete
 */
export function loadState(path: string): StateValue {
  using file = openSafetensors(path)
  const { metadata, names } = file
  if (metadata['format'] !== format) {
    throw new FormatError(`${path} holds no saved state: expected the format '${format}'`)
  }
  let plain: unknown
  try {
    plain = JSON.parse(metadata['state'] ?? '')
  } catch (cause) {
    throw new FormatError(`${path}: its state is no JSON text`, { cause })
  }
  const arrays = Object.fromEntries(names.map((name) => [name, file.read(name)]))
  return unpack(plain, arrays, path)
}

/** A copy with memory of its own. */
export function copyState(state: StateValue): StateValue {
  if (state instanceof Tensor) return state.detach().clone()
  if (ArrayBuffer.isView(state)) return (state as TypedArray).slice()
  if (Array.isArray(state)) return state.map((entry) => copyState(entry as StateValue))
  if (typeof state !== 'object' || state === null) return state
  return Object.fromEntries(
    Object.entries(state).map(([key, entry]) => [key, copyState(entry as StateValue)]),
  )
}

/** The bytes of all arrays and tensors in a state. */
export function bytesIn(state: StateValue): number {
  if (state instanceof Tensor || ArrayBuffer.isView(state)) return state.byteLength
  if (typeof state !== 'object' || state === null) return 0
  return Object.values(state).reduce((sum: number, entry) => sum + bytesIn(entry as StateValue), 0)
}
