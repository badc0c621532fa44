/**
 * Wrong calls, derived from valid ones: a row describes the arguments of a function by kind, and every
 * kind knows what must be refused in its place.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PalimpsestError, Tensor } from '../../lib/index.js'

/** One wrong value: what it is, and how to make it. */
type Wrong = [label: string, make: () => unknown]

/** What may also count as missing: where it is refused, then with the typed error. */
const lenient = ' (may count as missing)'

/** An argument: how to make a valid value, and the wrong ones with the name that messages must say. */
export interface Argument {
  make: () => unknown
  wrong: [...Wrong, name?: string][]
}

/** A function's row: how to call it with the arguments in order. */
export interface Row {
  call: (...args: never[]) => unknown
  args: Record<string, Argument>
  /** False where this machine has not what the valid call needs. */
  runs?: boolean
}

export type Table = Record<string, Row>

export const row = (
  // biome-ignore lint/suspicious/noExplicitAny: the arguments are wrong on purpose
  call: (...args: any[]) => unknown,
  args: Record<string, Argument> = {},
): Row => ({
  call,
  args,
})

/** A folder for this process alone. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'palimpsest-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

// ---- tensors ---------------------------------------------------------------------------------------

const fill = (data: Float64Array, f: (i: number) => number) => data.map((_, i) => f(i))

/** A tensor of small values, different ones, positive. */
export function t(shape: number[], dtype = 'float32' as Tensor['dtype']): Tensor {
  const size = shape.reduce((a, b) => a * b, 1)
  const values = fill(new Float64Array(size), (i) => ((i * 7 + 3) % 11) / 4 + 0.25)
  const x = Tensor.from({ data: values, shape }).to(dtype)
  return dtype === 'float64' ? x.clone() : x
}

/** An int32 tensor. */
export const ints = (values: number[], shape = [values.length]): Tensor =>
  Tensor.from({ data: Int32Array.from(values), shape })

/** A bool tensor. */
export const bools = (values: number[], shape = [values.length]): Tensor =>
  Tensor.from({ data: Uint8Array.from(values), shape, dtype: 'bool' })

/** A symmetric positive definite matrix. */
export function spd(n: number): Tensor {
  const data = new Float32Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) data[i * n + j] = i === j ? n + 1 : 1 / (1 + i + j)
  return Tensor.from({ data, shape: [n, n] })
}

function detached(shape: number[]): { data: Float32Array; shape: number[] } {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1))
  structuredClone(data.buffer, { transfer: [data.buffer] })
  return { data, shape }
}

function disposed(make: () => unknown): Tensor {
  const x = Tensor.from(make() as Tensor).clone()
  x.dispose()
  return x
}

const withValue = (make: () => unknown, value: number) => () => {
  const x = Tensor.from(make() as Tensor).clone()
  x.data[x.size - 1] = value
  return x
}

/** What is no number, list, function, string or tensor. */
const things = (optional = false): Wrong[] => [
  [optional ? `null${lenient}` : 'null', () => null],
  ['a string', () => 'text'],
  ['an object', () => ({})],
  ['a symbol', () => Symbol('wrong')],
]

export interface TensorRules {
  optional?: boolean
  /** A number counts as a tensor. */
  number?: boolean
  /** A list of numbers counts as a tensor. */
  list?: boolean
  /** null is allowed. */
  nullable?: boolean
  /** Dtypes that are refused. */
  refused?: Tensor['dtype'][]
  /** Shapes that are refused. */
  shapes?: number[][]
  /** NaN and infinities are refused, with this name for the tensor. */
  finite?: string
  /** NaN is refused, with this name for the tensor. */
  nan?: string
  /** Only a Tensor will do: it is changed in place, or carries gradients. */
  strict?: boolean
}

/** A tensor. */
export function x(make: () => unknown, rules: TensorRules = {}): Argument {
  const wrong: Wrong[] = things(rules.optional || rules.nullable)
  const named: Argument['wrong'] = []
  if (!rules.optional) wrong.push(['undefined', () => undefined])
  if (!rules.number) wrong.push(['a number', () => 7])
  if (!rules.list) wrong.push(['a list', () => ['a', {}]])
  wrong.push(['a disposed tensor', () => disposed(make)])
  if (!rules.strict) {
    const { shape } = Tensor.from(make() as Tensor)
    if (shape.reduce((a, b) => a * b, 1) > 0) {
      wrong.push(['a detached buffer', () => detached([...shape])])
    }
    wrong.push(
      ['too little data', () => ({ data: new Float32Array(3), shape: [2, 2] })],
      ['a shape that is no list', () => ({ data: new Float32Array(3), shape: 3 })],
      ['a negative extent', () => ({ data: new Float32Array(3), shape: [-3] })],
      ['a fractional extent', () => ({ data: new Float32Array(3), shape: [1.5, 2] })],
      ['an array of another kind', () => ({ data: new BigInt64Array(4), shape: [4] })],
      ['a plain array', () => ({ data: [1, 2], shape: [2] })],
      ['an unknown dtype', () => ({ data: new Float32Array(2), shape: [2], dtype: 'complex' })],
      [
        'another dtype than its data',
        () => ({ data: new Float32Array(2), shape: [2], dtype: 'int32' }),
      ],
      ['nine axes', () => ({ data: new Float32Array(1), shape: new Array(9).fill(1) })],
    )
  }
  for (const dtype of rules.refused ?? []) {
    wrong.push([`dtype ${dtype}`, () => Tensor.from(make() as Tensor).to(dtype)])
  }
  for (const shape of rules.shapes ?? []) {
    wrong.push([`shape [${shape}]`, () => t(shape).to(Tensor.from(make() as Tensor).dtype)])
  }
  if (rules.nan) named.push(['NaN inside', withValue(make, NaN), rules.nan])
  if (rules.finite) {
    for (const value of [NaN, Infinity]) {
      named.push([`${value} inside`, withValue(make, value), rules.finite])
    }
  }
  return { make, wrong: [...wrong, ...named] }
}

// ---- numbers, words, functions ---------------------------------------------------------------------

interface NumberRules {
  optional?: boolean
  low?: number
  high?: number
  /** Values that are refused beside those. */
  refused?: number[]
  /** null means something. */
  nullable?: boolean
}

const notNumbers = ({ optional, nullable }: NumberRules): Wrong[] => [
  ...things(optional || nullable),
  ['NaN', () => NaN],
  ['a list', () => ['a']],
  ['a bigint', () => 1n],
  ...(optional ? [] : ([['undefined', () => undefined]] as Wrong[])),
]

/** An integer in [low, high]. */
export function int(valid: number, rules: NumberRules = {}): Argument {
  const { low, high, refused = [] } = rules
  const wrong = notNumbers(rules)
  for (const value of [0.5, Infinity, -Infinity, ...refused]) {
    wrong.push([`${value}`, () => value])
  }
  if (low !== undefined) wrong.push([`${low - 1}`, () => low - 1])
  if (high !== undefined) wrong.push([`${high + 1}`, () => high + 1])
  return { make: () => valid, wrong }
}

/** A number in [low, high]; `refused` for open ends. */
export function num(valid: number, rules: NumberRules = {}): Argument {
  const { low, high, refused = [] } = rules
  const wrong = notNumbers(rules)
  for (const value of refused) wrong.push([`${value}`, () => value])
  if (low !== undefined) wrong.push([`${low - 0.5}`, () => low - 0.5])
  if (high !== undefined) wrong.push([`${high + 0.5}`, () => high + 0.5])
  return { make: () => valid, wrong }
}

/** One of some words. */
export const word = (valid: string, { optional = false } = {}): Argument => ({
  make: () => valid,
  wrong: [
    ['an unknown word', () => 'no such word'],
    [optional ? `null${lenient}` : 'null', () => null],
    ['a number', () => 7],
    ['an object', () => ({})],
    ...(optional ? [] : ([['undefined', () => undefined]] as Wrong[])),
  ],
})

/** A text, or a path. */
export const text = (make: () => string): Argument => ({
  make,
  wrong: [
    ['undefined', () => undefined],
    ['null', () => null],
    ['a number', () => 7],
    ['an object', () => ({})],
  ],
})

/** A function, or an object of some class. */
export const thing = (make: () => unknown, { optional = false } = {}): Argument => ({
  make,
  wrong: [
    ...things(optional),
    ['a number', () => 7],
    ...(optional ? [] : ([['undefined', () => undefined]] as Wrong[])),
  ],
})

/** A list: what is no list, and a list with something wrong inside. */
export function list(
  make: () => unknown[],
  {
    optional = false,
    bad = [null, 'text'] as unknown[],
    refused = [] as unknown[][],
    number = false,
  } = {},
): Argument {
  const wrong: Wrong[] = things(optional)
  if (!number) wrong.push(['a number', () => 7])
  if (!optional) wrong.push(['undefined', () => undefined])
  for (const value of bad)
    wrong.push([`${String(value)} in the list`, () => [...make().slice(1), value]])
  for (const value of refused) wrong.push([`[${value}]`, () => value])
  return { make, wrong }
}

/** Anything at all, or what other tests look at. */
export const any = (make: () => unknown): Argument => ({ make, wrong: [] })

/** A value whose wrong ones are told by hand; `names` is a pattern that the messages must match. */
export const value = (
  make: () => unknown,
  wrong: Record<string, unknown>,
  names?: string,
): Argument => ({
  make,
  wrong: Object.entries(wrong).map(([label, v]): Argument['wrong'][number] => {
    const bad = typeof v === 'function' ? (v as () => unknown) : () => v
    return names ? [label, bad, names] : [label, bad]
  }),
})

/** An object of options; each is wrong in its turn. */
export function options(fields: Record<string, Argument>, { required = false } = {}): Argument {
  const make = () => Object.fromEntries(Object.entries(fields).map(([key, a]) => [key, a.make()]))
  const wrong: Argument['wrong'] = [
    [`null${lenient}`, () => null],
    ['a string', () => 'text'],
    ['a number', () => 7],
  ]
  if (required) wrong.push(['undefined', () => undefined])
  for (const [key, argument] of Object.entries(fields)) {
    for (const [label, bad, name = key] of argument.wrong) {
      wrong.push([`${key}: ${label}`, () => ({ ...make(), [key]: bad() }), name])
    }
  }
  return { make, wrong }
}

// ---- running ---------------------------------------------------------------------------------------

/** The memory of everything that an argument holds, as bytes. */
function memory(value: unknown, depth = 0): string {
  if (value instanceof Tensor) {
    return value.disposed || value.device !== 'cpu' ? '' : memory(value.array)
  }
  if (ArrayBuffer.isView(value)) {
    return value.byteLength === 0
      ? ''
      : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  }
  if (depth > 2 || typeof value !== 'object' || value === null) return ''
  return Object.values(value)
    .map((v) => memory(v, depth + 1))
    .join('|')
}

/** Whether a message names the argument, or shows the shape that did not fit. */
function names(message: string, name: string, value: unknown): boolean {
  if (new RegExp(`(^|[^A-Za-z])(${name.replace(/[[\]]/g, '\\$&')})([^A-Za-z]|$)`).test(message))
    return true
  return value instanceof Tensor && message.includes(`[${value.shape.join(', ')}]`)
}

/** Calls a row with every wrong value; returns what went otherwise than it must. */
export async function findings(
  name: string,
  { call, args, runs = true }: Row,
): Promise<[number, string[]]> {
  const list = Object.entries(args)
  const found: string[] = []
  const run = async (values: unknown[]) => await call(...(values as never[]))
  try {
    if (runs) await run(list.map(([, a]) => a.make()))
  } catch (error) {
    return [0, [`${name}: the valid call throws ${(error as Error)?.stack}`]]
  }
  let count = 0
  for (const [i, [argument, { wrong }]] of list.entries()) {
    for (const [label, make, expected = argument] of wrong) {
      count++
      const values = list.map(([, a], k) => (k === i ? make() : a.make()))
      const before = memory(values)
      const what = `${name}: ${argument} ← ${label}`
      try {
        await run(values)
        if (!label.endsWith(lenient)) found.push(`${what}: nothing was thrown`)
      } catch (error) {
        if (!(error instanceof PalimpsestError)) {
          const where = String((error as Error)?.stack)
            .split('\n')
            .find((line) => line.includes('/lib/'))
          found.push(`${what}: ${error}${where ?? ''}`)
        } else if (!names(error.message, expected, values[i])) {
          found.push(`${what}: does not name '${expected}': ${error.message}`)
        }
      }
      if (memory(values) !== before) found.push(`${what}: inputs were changed`)
    }
  }
  return [count, found]
}
