/** Rows on a GPU beside PyTorch on the same card; one after the other, in turns. */

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { devices, emptyCache, full, synchronize } from '../../lib/index.js'
import { type Times, timesOf } from '../document.js'
import { deviceRows } from './rows.js'

/** One row's result. Times are milliseconds of one run, for ours and for each peer. */
export interface DeviceResult {
  name: string
  ms: Times
  /** FLOP/s or bytes/s at the floor of the work. */
  rate: number
  unit: 'FLOP/s' | 'byte/s'
  error: number
  peers: Record<string, (Times & { ratio: number }) | { skipped: string }>
}

/** The results of one run. */
export interface DeviceDocument {
  date: string
  device: string
  features: string[]
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
}

/**
 * Ours is timed by the host's clock between two waits for the device, over as many runs as take 50 ms, so
 * that one wait's cost vanishes; the peers by device events. Before each row the memory that outputs will be
 * given is filled with NaN.
 *
 * @returns null where the device cannot be used, with the reason
 */
export async function benchDevice(
  options: DeviceBenchOptions,
): Promise<{ document: DeviceDocument } | { reason: string }> {
  const { device, filters = [], small = false, rounds = 9, peers = true, onRow } = options
  const kind = device.split(':')[0] as string
  const found =
    devices().find(({ id }) => id === device) ?? devices().find(({ id }) => id.startsWith(kind))
  if (!found || found.reason || found.id !== device) {
    return { reason: found?.reason ?? `there is no device '${device}'` }
  }
  const python = peers ? startPython() : null
  const results: DeviceResult[] = []
  try {
    for (const [name, make] of deviceRows(small)) {
      if (filters.length > 0 && !filters.some((filter) => name.includes(filter))) continue
      onRow?.(name)
      const row = make(device)
      const error = row.error()
      poison(device, small ? 1 << 12 : 1 << 28)
      row.run()
      const runs = runsFor(() => time(device, row.run, 1))
      const ours = Array.from({ length: rounds }, () => time(device, row.run, runs))
      const result: DeviceResult = {
        name,
        ms: timesOf(ours),
        rate: (row.work / timesOf(ours).median) * 1e3,
        unit: `${row.unit}/s`,
        error,
        peers: {},
      }
      emptyCache(device)
      const theirs = await python?.run(name, rounds)
      for (const [peer, answer] of Object.entries(theirs ?? {})) {
        if (Array.isArray(answer)) {
          const times = timesOf(answer)
          result.peers[peer] = { ...times, ratio: times.median / result.ms.median }
        } else {
          result.peers[peer] = { skipped: answer }
        }
      }
      results.push(result)
    }
  } finally {
    python?.close()
  }
  const { name, features } = found
  return { document: { date: new Date().toISOString(), device: name, features, results } }
}

/** Milliseconds of one of `runs` runs. */
function time(device: string, run: () => unknown, runs: number): number {
  synchronize(device)
  const begin = performance.now()
  for (let i = 0; i < runs; i++) run()
  synchronize(device)
  return (performance.now() - begin) / runs
}

const runsFor = (once: () => number) => Math.max(1, Math.min(1000, Math.ceil(50 / once())))

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
    run: (row: string, rounds: number) =>
      new Promise<Answers>((resolve) => {
        if (broken) return resolve({ torch: broken })
        waiting = resolve
        python.stdin.write(`${JSON.stringify({ row, rounds })}\n`)
      }),
    close: () => void python.kill(),
  }
}
