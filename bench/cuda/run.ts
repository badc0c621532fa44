/** Rows on a GPU beside PyTorch on the same card; one after the other, in turns. */

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { devices, elapsed, emptyCache, full } from '../../lib/index.js'
import { type Times, timesOf } from '../document.js'
import { type Bar, deviceRows } from './rows.js'

/** One row's result. Times are milliseconds of one run by device events, for ours and for each peer. */
export interface DeviceResult {
  name: string
  ms: Times
  /** FLOP/s or bytes/s at the floor of the work. */
  rate: number
  unit: 'FLOP/s' | 'byte/s'
  error: number
  /** `ratio`: the peer's median over ours. */
  peers: Record<string, (Times & { ratio: number }) | { skipped: string }>
  /** What must be reached beside a peer; `met` is null where the peer could not run. */
  bars: { peer: string; must: number; met: boolean | null }[]
}

/** The results of one run. */
export interface DeviceDocument {
  date: string
  device: string
  features: string[]
  /** Versions of the peers' packages, and what is not there. */
  versions: Record<string, string>
  results: DeviceResult[]
}

export interface DeviceBenchOptions {
  device: string
  filters?: readonly string[]
  small?: boolean
  /** Groups of runs whose median counts. */
  rounds?: number
  /** PyTorch beside ours; true by default. */
  peers?: boolean
  onRow?: (name: string) => void
  onResult?: (result: DeviceResult) => void
}

/** The rows that a run would time, with each peer: empty text where it could run here, else why not. */
export async function listRows(
  filters: readonly string[],
): Promise<{ name: string; bars: Bar[]; peers: Record<string, string> }[]> {
  const python = startPython()
  try {
    const list = []
    for (const { name, bars } of rowsOf(filters, false)) {
      list.push({ name, bars, peers: (await python.ask({ list: name })) as Record<string, string> })
    }
    return list
  } finally {
    python.close()
  }
}

const rowsOf = (filters: readonly string[], small: boolean) =>
  deviceRows(small).filter(
    ({ name }) => filters.length === 0 || filters.some((filter) => name.includes(filter)),
  )

/**
 * Ours and the peers are timed by device events around as many runs as take 50 ms; medians over such groups.
 * Data are random; before each row the memory that outputs will be given is filled with NaN.
 *
 * @returns the reason where the device cannot be used
 */
export async function benchDevice(
  options: DeviceBenchOptions,
): Promise<{ document: DeviceDocument } | { reason: string }> {
  const { device, filters = [], small = false, rounds = 9, peers = true } = options
  const kind = device.split(':')[0] as string
  const found =
    devices().find(({ id }) => id === device) ?? devices().find(({ id }) => id.startsWith(kind))
  if (!found || found.reason || found.id !== device) {
    return { reason: found?.reason ?? `there is no device '${device}'` }
  }
  const python = peers ? startPython() : null
  const { name, features } = found
  const versions = ((await python?.ask({ versions: true })) ?? {}) as Record<string, string>
  const document: DeviceDocument = {
    date: new Date().toISOString(),
    device: name,
    features,
    versions,
    results: [],
  }
  try {
    for (const { name, bars, make } of rowsOf(filters, small)) {
      options.onRow?.(name)
      const row = make(device)
      const error = row.error()
      poison(device, small ? 1 << 12 : 1 << 28)
      // An optimizer's third step is the first that is replayed as a graph.
      for (let i = 0; i < 3; i++) row.run()
      const time = (runs: number) =>
        elapsed(device, () => {
          for (let i = 0; i < runs; i++) row.run()
        }) / runs
      const runs = Math.max(1, Math.min(1000, Math.ceil(50 / Math.max(time(1), 1e-3))))
      const ms = timesOf(Array.from({ length: rounds }, () => time(runs)))
      const result: DeviceResult = {
        name,
        ms,
        rate: (row.work / ms.median) * 1e3,
        unit: `${row.unit}/s`,
        error,
        peers: {},
        bars: [],
      }
      emptyCache(device)
      for (const [peer, answer] of Object.entries(
        (await python?.ask({ row: name, rounds })) ?? {},
      )) {
        if (typeof answer === 'string') {
          result.peers[peer] = { skipped: answer }
        } else {
          const times = timesOf(answer)
          result.peers[peer] = { ...times, ratio: times.median / ms.median }
        }
      }
      result.bars = bars.map(([peer, must]) => {
        const theirs = result.peers[peer]
        return { peer, must, met: theirs && 'ratio' in theirs ? theirs.ratio >= must : null }
      })
      document.results.push(result)
      options.onResult?.(result)
    }
  } finally {
    python?.close()
  }
  return { document }
}

/** Leaves NaN in memory that the device will hand out next. */
function poison(device: string, entries: number): void {
  full([entries], Number.NaN).to(device).dispose()
}

/** The Python process of bench/peers/cuda/main.py: times by device events, or why there are none. */
function startPython() {
  const script = fileURLToPath(new URL('../../../bench/peers/cuda/main.py', import.meta.url))
  const python = spawn(process.env['PALIMPSEST_PYTHON'] ?? 'python3', [script], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  type Answers = Record<string, number[] | string>
  let waiting: ((answers: Answers) => void) | null = null
  let broken: string | null = null
  const fail = (reason: string) => {
    broken = reason
    waiting?.({ torch: reason })
  }
  python.on('error', (error) => fail(error.message))
  python.on('exit', () => fail('the Python peer ended'))
  python.stdin.on('error', () => fail('the Python peer ended'))
  createInterface({ input: python.stdout }).on('line', (line) => waiting?.(JSON.parse(line)))
  return {
    ask: (request: object) =>
      new Promise<Answers>((resolve) => {
        if (broken) return resolve({ torch: broken })
        waiting = resolve
        python.stdin.write(`${JSON.stringify(request)}\n`)
      }),
    close: () => void python.kill(),
  }
}
