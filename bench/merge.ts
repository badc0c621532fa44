/**
 * Merging of checkpoints beside what the disk and memory allow: bytes read and written a second, and the
 * peak of resident memory, each method in a process of its own.
 *
 *   node dist/bench/merge.js [--parameters 100000000] [--count 8] [--keep folder] [method …]
 *
 * The files are made in a temporary folder (about 4 bytes × parameters × (count + 2)) and removed, unless
 * `--keep` names a folder, in which they are made once. The limit reads every file once, in pieces, as
 * merging does, and writes one, flushed to the disk: what any merge must at least do.
 */

import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Generator, randn, scope } from '../lib/index.js'
import { SafetensorsWriter } from '../lib/io/index.js'
import { average, mergeCheckpoints, opcm, taskArithmetic, ties } from '../lib/merge/index.js'

const methods = { average, 'task-arithmetic': taskArithmetic, ties, opcm }
type Method = keyof typeof methods

const modelPath = (folder: string, i: number) => join(folder, `model${i}.safetensors`)

/** A third in an embedding, the rest in matrices of 4 × 1024 × 1024, and vectors. */
function shapesOf(parameters: number): Record<string, number[]> {
  const layers = Math.max(1, Math.round((parameters * 2) / 3 / (4 << 20)))
  const rows = Math.max(1, Math.round((parameters - layers * ((4 << 20) + 4096)) / 1024))
  const shapes: Record<string, number[]> = { 'tok_emb.weight': [rows, 1024] }
  for (let i = 0; i < layers; i++) {
    shapes[`layers.${i}.weight`] = [4096, 1024]
    shapes[`layers.${i}.bias`] = [4096]
  }
  return shapes
}

/** File 0 is the base; the others are it and a tenth of noise. */
function makeFiles(folder: string, parameters: number, count: number): void {
  const { bavail, bsize } = statfsSync(folder)
  const needed = 4 * parameters * (count + 2)
  if (bavail * bsize < 1.1 * needed) {
    throw new Error(`${folder} has ${bavail * bsize} bytes free, ${needed} are needed`)
  }
  const shapes = shapesOf(parameters)
  const announced = Object.fromEntries(Object.entries(shapes).map(([k, shape]) => [k, { shape }]))
  for (let i = 0; i <= count; i++) {
    if (existsSync(modelPath(folder, i))) continue
    using writer = new SafetensorsWriter(modelPath(folder, i), announced)
    for (const [k, [name, shape]] of Object.entries(shapes).entries()) {
      scope(() => {
        const base = randn(shape, { generator: new Generator(k) })
        const noise = randn(shape, { generator: new Generator(1000 * i + k) })
        writer.write(name, i === 0 ? base : base.add(noise.mul(0.1)))
      })
    }
    writer.close()
  }
}

/** Reads `count` files and writes one; returns seconds and bytes. */
function limit(folder: string, files: readonly string[]): { seconds: number; bytes: number } {
  const buffer = new Uint8Array(1 << 20)
  const out = join(folder, 'limit.tmp')
  const begin = performance.now()
  let bytes = 0
  for (const path of files) {
    const file = openSync(path, 'r')
    for (let n = 1; n > 0; bytes += n) n = readSync(file, buffer)
    closeSync(file)
  }
  const size = bytes / files.length
  const file = openSync(out, 'w')
  for (let at = 0; at < size; at += buffer.length) writeSync(file, buffer)
  bytes += fstatSync(file).size
  fsyncSync(file)
  closeSync(file)
  const seconds = (performance.now() - begin) / 1e3
  unlinkSync(out)
  return { seconds, bytes }
}

/** One merge in this process; prints JSON. */
function one(folder: string, method: Method, count: number): void {
  const models = Array.from({ length: count }, (_, i) => modelPath(folder, i + 1))
  const base = modelPath(folder, 0)
  const begin = performance.now()
  const { parameters } = mergeCheckpoints({
    models,
    base,
    out: join(folder, 'merged.safetensors'),
    method: methods[method](),
  })
  const seconds = (performance.now() - begin) / 1e3
  const peak = process.resourceUsage().maxRSS * 1024
  console.log(JSON.stringify({ seconds, parameters, peak }))
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    parameters: { type: 'string', default: '100000000' },
    count: { type: 'string', default: '8' },
    keep: { type: 'string' },
    one: { type: 'boolean', default: false },
    make: { type: 'boolean', default: false },
  },
})
const count = Number(values.count)
const parameters = Number(values.parameters)
if (values.one) one(values.keep as string, positionals[0] as Method, count)
else {
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'merge-'))
  try {
    mkdirSync(folder, { recursive: true })
    makeFiles(folder, parameters, count)
    const wanted = positionals.length > 0 ? positionals : ['average', 'task-arithmetic', 'ties']
    for (const method of values.make ? [] : wanted) {
      const first = method === 'average' ? 1 : 0
      const files = Array.from({ length: count + 1 - first }, (_, i) =>
        modelPath(folder, i + first),
      )
      const least = limit(folder, files)
      const run = spawnSync(
        process.execPath,
        [fileURLToPath(import.meta.url), '--one', '--keep', folder, '--count', `${count}`, method],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
      )
      if (run.status !== 0) throw new Error(`${method} failed`)
      const { seconds, peak } = JSON.parse(run.stdout) as { seconds: number; peak: number }
      const rate = (s: number) => `${(least.bytes / s / 1e9).toFixed(2)} GB/s`
      console.log(
        `${method.padEnd(16)} ${seconds.toFixed(2)} s  ${rate(seconds)} of ${rate(least.seconds)} (read once and write once)  peak ${(peak / 2 ** 20).toFixed(0)} MiB`,
      )
    }
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true, force: true })
  }
}
