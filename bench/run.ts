/** Runs rows beside their peers, in turns, and collects the results. */

import { setTimeout } from 'node:timers/promises'
import { native } from '../lib/engine/native.js'
import { devices, threads } from '../lib/index.js'
import { type BenchDocument, type Result, timesOf } from './document.js'
import { measureLimits } from './limits.js'
import { jaxPeer } from './peers/jax.js'
import type { Peer } from './peers/peer.js'
import { pythonPeers, startPython } from './peers/python.js'
import { tfjsPeer } from './peers/tfjs.js'
import { rows } from './rows/index.js'
import type { Row } from './rows/row.js'

export const peerNames = [...pythonPeers, 'tfjs-wasm', 'jax-js'] as const

/** What to run. */
export interface BenchOptions {
  /** Rows whose name contains one of these, or is one of these; all by default. */
  filters?: readonly string[]
  /** Peers by name; all by default. */
  peers?: readonly string[]
  /** Few rounds of the small rows: shows that it runs. */
  quick?: boolean
  /** Called before each row. */
  onRow?: (name: string, index: number, total: number) => void
}

async function measure(row: Row, peers: readonly Peer[], quick: boolean, rate: number) {
  // Checked before it is timed.
  const error = row.error?.() ?? null
  await row.run()
  const begin = performance.now()
  await row.run()
  const once = Math.max(performance.now() - begin, 0.001)
  // Until the compiler of JavaScript has seen enough of a short row, as in any loop that lasts.
  const warm = once < 1 && !quick ? begin + 40 : 0
  while (performance.now() < warm) await row.run()
  const turns = quick ? 2 : 7
  const rounds = quick ? 2 : Math.max(1, Math.min(200, Math.round(60 / once)))
  const ours: number[] = []
  const theirs = new Map<string, number[]>()
  const skipped = new Map<string, string | null>()
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < rounds; i++) {
      const start = performance.now()
      const wait = row.run()
      // Waiting takes a turn of the event loop: not where there is nothing to wait for.
      if (wait instanceof Promise) await wait
      ours.push(performance.now() - start)
    }
    for (const peer of peers) {
      if (skipped.has(peer.name)) continue
      // Slow peers get few rounds: not more than ten times our time.
      const before = theirs.get(peer.name)
      const slow = before
        ? Math.max(1, Math.floor((10 * rounds * once) / timesOf(before).median))
        : 1
      const answer = await peer.run(row.name, Math.min(rounds, slow))
      // A peer's threads may go on spinning for work (OpenMP: up to 0.2 s) and would slow us down.
      if (!quick && !('skipped' in answer)) await setTimeout(250)
      if ('skipped' in answer) skipped.set(peer.name, answer.skipped)
      else theirs.set(peer.name, [...(before ?? []), ...answer.ms])
    }
  }
  const ms = timesOf(ours)
  const result: Result = {
    name: row.name,
    ms,
    fraction: rate > 0 ? row.work / (ms.median / 1e3) / rate : null,
    limit: row.limit,
    error,
    peers: {},
  }
  for (const [name, list] of theirs) {
    const times = timesOf(list)
    result.peers[name] = { ...times, ratio: times.median / ms.median }
  }
  for (const [name, reason] of skipped)
    if (reason !== null) result.peers[name] = { skipped: reason }
  return result
}

/** Measures the machine, then every row that the filter names. */
export async function runBench(options: BenchOptions = {}): Promise<BenchDocument> {
  const wanted = (name: string) => options.peers?.some((p) => name.startsWith(p)) ?? true
  const names = new Set(rows.map(([name]) => name))
  const filters = options.filters ?? []
  const fits = (name: string) =>
    filters.length === 0 || filters.some((f) => (names.has(f) ? name === f : name.includes(f)))
  const chosen = rows.filter(([name]) => fits(name) && !(options.quick && /\d{4}/.test(name)))
  const limits = measureLimits(options.quick ?? false)
  const peers: Peer[] = [
    ...(pythonPeers.some(wanted) ? startPython(threads()) : []),
    ...(wanted('tfjs-wasm') ? [await tfjsPeer()] : []),
    ...(wanted('jax-js') ? [await jaxPeer()] : []),
  ].filter((peer) => wanted(peer.name))
  const results: Result[] = []
  try {
    for (const [i, [name, make]] of chosen.entries()) {
      options.onRow?.(name, i, chosen.length)
      const row = make()
      results.push(await measure(row, peers, options.quick ?? false, limits[row.limit]))
      row.close?.()
    }
  } finally {
    for (const peer of peers) peer.close()
  }
  const { name, level } = native.cpu()
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: devices()[0]?.name ?? name,
    level,
    threads: threads(),
    limits,
    results,
  }
}
