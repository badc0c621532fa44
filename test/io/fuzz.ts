/**
 * Fuzzes the safetensors and checkpoint readers: valid files are changed in many ways and read whole.
 * Anything but a typed error, a slow read or much memory is a finding.
 *
 *     node dist/test/io/fuzz.js [--minutes 10] [--seed 1]
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DTypeError, FormatError, Generator, PalimpsestError, tensor } from '../../lib/index.js'
import {
  loadCheckpoint,
  openSafetensors,
  saveCheckpoint,
  saveSafetensors,
} from '../../lib/io/index.js'

const tokens = [
  '-1',
  '1e999',
  '9007199254740993',
  '1e18',
  '0.5',
  'null',
  '[]',
  '{}',
  '""',
  '"F16"',
  '"I64"',
  '"F32"',
  'true',
  '"__proto__"',
  '[[[[[[[[',
  ',',
  ':',
  '}',
  '"\\ud800"',
  '4294967296',
]

/** Files to begin from. */
export function seeds(folder: string): Uint8Array[] {
  const path = join(folder, 'seed')
  const written = (save: () => void) => {
    save()
    return new Uint8Array(readFileSync(path))
  }
  const numbers = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])
  const foreign = (type: string, bytes: number) => {
    const json = JSON.stringify({ x: { dtype: type, shape: [4], data_offsets: [0, 4 * bytes] } })
    const file = new Uint8Array(8 + json.length + 4 * bytes).fill(1)
    new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
    file.set(new TextEncoder().encode(json), 8)
    return file
  }
  return [
    written(() =>
      saveSafetensors(
        path,
        {
          a: numbers.T,
          b: numbers.to('float64'),
          c: numbers.gt(2),
          d: numbers.to('int32'),
          e: numbers.to('bfloat16'),
          f: numbers.to('uint8'),
          empty: tensor([]),
          scalar: tensor(7),
        },
        { note: 'hello', other: '{"x":1}' },
      ),
    ),
    written(() => saveSafetensors(path, {})),
    written(() =>
      saveCheckpoint(path, { generator: new Generator(3), x: numbers, deep: { y: [1, NaN, 'z'] } }),
    ),
    foreign('F16', 2),
    foreign('I64', 8),
    foreign('F8_E4M3', 1),
  ]
}

/** One change, or a few, of a file. */
export function mutate(source: Uint8Array, all: readonly Uint8Array[], g: Generator): Uint8Array {
  let bytes = Uint8Array.from(source)
  const cut = () => g.integer(bytes.length + 1)
  const splice = (at: number, remove: number, insert: Uint8Array) => {
    const tail = bytes.subarray(Math.min(bytes.length, at + remove))
    bytes = Uint8Array.from(Buffer.concat([bytes.subarray(0, at), insert, tail]))
  }
  const changes: (() => void)[] = [
    () => {
      if (bytes.length > 0) bytes[g.integer(bytes.length)] = g.integer(256)
    },
    () => {
      if (bytes.length > 0) {
        const at = g.integer(bytes.length)
        bytes[at] = (bytes[at] as number) ^ (1 << g.integer(8))
      }
    },
    () => {
      bytes = bytes.slice(0, cut())
    },
    () => splice(bytes.length, 0, new Uint8Array(g.integer(64)).fill(g.integer(256))),
    () => {
      // The header's length: near the truth, or anything.
      if (bytes.length < 8) return
      const view = new DataView(bytes.buffer)
      const length = view.getBigUint64(0, true)
      const near = BigInt.asUintN(64, length + BigInt(g.integer(33)) - 16n)
      view.setBigUint64(0, g.integer(2) ? near : 1n << BigInt(g.integer(64)), true)
    },
    () =>
      splice(
        8 + g.integer(Math.max(1, bytes.length - 8)),
        g.integer(4),
        new TextEncoder().encode(tokens[g.integer(tokens.length)] as string),
      ),
    () => {
      // A number of the header becomes another.
      const text = Buffer.from(bytes).toString('latin1')
      const numbers = [...text.matchAll(/\d+/g)]
      const found = numbers[g.integer(Math.max(1, numbers.length))]
      if (!found) return
      const other = g.integer(2) ? String(g.integer(100)) : (tokens[g.integer(5)] as string)
      splice(found.index, found[0].length, new TextEncoder().encode(other))
      if (g.integer(2) && bytes.length >= 8) {
        // With the length put right, so that the parser gets to see it.
        const view = new DataView(bytes.buffer)
        const grown = BigInt(other.length - found[0].length)
        view.setBigUint64(0, BigInt.asUintN(64, view.getBigUint64(0, true) + grown), true)
      }
    },
    () => {
      const other = all[g.integer(all.length)] as Uint8Array
      bytes = Uint8Array.from(
        Buffer.concat([bytes.subarray(0, cut()), other.subarray(g.integer(other.length))]),
      )
    },
    () => splice(cut(), g.integer(16), bytes.slice(cut(), cut())),
  ]
  const count = 1 + g.integer(4)
  for (let i = 0; i < count; i++) (changes[g.integer(changes.length)] as () => void)()
  return bytes
}

/** What reading a file does: 'read', or the typed error's name. Throws where it misbehaves. */
export function readAll(path: string, bytes: Uint8Array): string {
  const memory = process.memoryUsage().arrayBuffers
  const started = performance.now()
  const attempt = (run: () => void): string => {
    try {
      run()
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof DTypeError)) {
        if (!(error instanceof PalimpsestError)) throw error
        throw new Error(`${error.name} is not for files: ${error.message}`)
      }
      return error.name
    }
    return 'read'
  }
  const [outcome] = [false, true].map((map) =>
    attempt(() => {
      using file = openSafetensors(path, { map })
      for (const name of file.names) file.read(name).toArray()
    }),
  )
  attempt(() => loadCheckpoint(path))
  const grown = process.memoryUsage().arrayBuffers - memory
  // Each way of reading may hold the file's bytes and twice their number as wider elements.
  if (grown > 64 * bytes.length + (1 << 20))
    throw new Error(`took ${grown} bytes for ${bytes.length}`)
  const took = performance.now() - started
  if (took > 5000) throw new Error(`took ${took.toFixed(0)} ms`)
  return outcome as string
}

/** Fuzzes until the time is over; gives the number of every outcome. */
export function fuzz(until: number, seed: number, most = Infinity): Record<string, number> {
  const folder = mkdtempSync(join(tmpdir(), 'palimpsest-fuzz-'))
  const path = join(folder, 'file')
  const outcomes: Record<string, number> = {}
  try {
    const all = seeds(folder)
    const g = new Generator(seed)
    for (let i = 0; i < most && performance.now() < until; i++) {
      const bytes = mutate(all[g.integer(all.length)] as Uint8Array, all, g)
      writeFileSync(path, bytes)
      let outcome: string
      try {
        outcome = readAll(path, bytes)
      } catch (error) {
        const kept = join(tmpdir(), `palimpsest-finding-${seed}-${i}`)
        writeFileSync(kept, bytes)
        throw new Error(`finding at ${i}, kept as ${kept}`, { cause: error })
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return outcomes
}

const [script] = process.argv.slice(1)
if (script?.endsWith('fuzz.js')) {
  const option = (name: string, fallback: number) => {
    const at = process.argv.indexOf(`--${name}`)
    return at < 0 ? fallback : Number(process.argv[at + 1])
  }
  const minutes = option('minutes', 10)
  const seed = option('seed', 1)
  const outcomes = fuzz(performance.now() + minutes * 60_000, seed)
  console.log(JSON.stringify({ minutes, seed, files: outcomes }))
}
