/**
 * Peak memory of training steps beside PyTorch's, on Linux: how far the resident memory of a process rises
 * above what it was once the library had trained a tiny network, which loads all of its code (weights,
 * optimizer state, batch, activations, scratch). The median of five processes a row and library, for where the
 * C library's allocator puts things differs from run to run by up to a third. `node dist/bench/memory.js
 * [filter …]`; PALIMPSEST_PYTHON names a Python with torch. The tiny network itself is no row: it is what
 * both are measured above.
 */

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rows as networks } from './rows/networks.js'
import { rows as train } from './rows/train.js'

const tinyRow = 'train adamw 8-16-2 4'
const rows = [...train, ...networks].filter(([name]) => name.startsWith('train '))
const steps = 4
const processes = 5

function resident(key: 'VmRSS' | 'VmHWM'): number {
  const line = new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(line?.[1]) * 1024
}

/** Bytes that a row's steps need beyond a loaded library. */
async function measure(name: string): Promise<number> {
  const make = (wanted: string) => {
    const found = rows.find(([row]) => row === wanted)?.[1]
    if (!found) throw new Error(`no row '${wanted}'`)
    return found()
  }
  const tiny = make(tinyRow)
  for (let i = 0; i < steps; i++) await tiny.run()
  writeFileSync('/proc/self/clear_refs', '5')
  const before = resident('VmRSS')
  const row = make(name)
  for (let i = 0; i < steps; i++) await row.run()
  return resident('VmHWM') - before
}

const [first, ...rest] = process.argv.slice(2)
if (first === '--row') {
  process.stdout.write(`${await measure(rest[0] as string)}\n`)
} else {
  const filters = first === undefined ? [] : [first, ...rest]
  const self = fileURLToPath(import.meta.url)
  const script = fileURLToPath(new URL('../../bench/peers/memory.py', import.meta.url))
  const python = process.env['PALIMPSEST_PYTHON'] ?? 'python3'
  const shown = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`.padStart(10)
  for (const [name] of rows) {
    if (name === tinyRow) continue
    if (filters.length > 0 && !filters.some((filter) => name.includes(filter))) continue
    const bytes = (program: string, ...args: string[]) => {
      const all = Array.from({ length: processes }, () =>
        Number(execFileSync(program, args, { encoding: 'utf8' })),
      )
      return all.sort((a, b) => a - b)[processes >> 1] as number
    }
    const ours = bytes(process.execPath, self, '--row', name)
    const torch = bytes(python, script, name, String(steps))
    const ratio = (torch / ours).toFixed(2)
    process.stdout.write(
      `${name.padEnd(32)} ours ${shown(ours)}  torch ${shown(torch)}  ratio ${ratio}\n`,
    )
  }
}
