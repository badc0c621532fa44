/**
 * Microbenchmarks: every row beside its peers, round by round in turn, with the fraction of the machine's
 * measured limit and the error against float64.
 *
 *   npm run bench [-- filter] [-- --json] [-- --quick]
 */

import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { formatTable } from '../lib/cli/table.js'
import { begin, number, view } from '../lib/engine/call.js'
import { native } from '../lib/engine/native.js'
import { devices, ones, threads, zeros } from '../lib/index.js'
import { type Peer, tfjsPeer, torchPeer } from './peers.js'
import { type Limit, rows } from './rows.js'

const program = new Command('bench')
  .argument('[filter]', 'rows whose name contains this')
  .option('--json', 'print one JSON document')
  .option('--quick', 'few rounds, small sizes only: shows that it runs')
  .option('--out <file>', 'also write the JSON document to a file')
  .parse()
const [filter = ''] = program.args
const options = program.opts<{ json?: boolean; quick?: boolean; out?: string }>()

const median = (list: readonly number[]) =>
  [...list].sort((a, b) => a - b)[list.length >> 1] as number

/** The best rate of a probe, in work a second. */
function limitOf(what: number, repetitions: number): number {
  const from = ones([1 << 25])
  const to = zeros([1 << 25])
  let best = 0
  for (let i = 0; i < 5; i++) {
    begin()
    view(from)
    view(to)
    number(what)
    number(repetitions)
    const start = performance.now()
    const work = native.probe(from.array, to.array) as number
    best = Math.max(best, work / ((performance.now() - start) / 1e3))
  }
  from.dispose()
  to.dispose()
  return best
}

const limits: Record<Limit, number> = {
  f32: limitOf(0, 2000),
  bf16: limitOf(2, 2000),
  copy: limitOf(3, 1),
}
const peers: Peer[] = [torchPeer(threads()), await tfjsPeer()]
const results: {
  name: string
  ms: { median: number; min: number; max: number }
  fraction: number | null
  error: number | null
  peers: Record<string, { median: number; ratio: number } | { skipped: string }>
}[] = []

for (const [name, make] of rows) {
  if (!name.includes(filter) || (options.quick && /\d{4}/.test(name))) continue
  const row = make()
  // Checked before it is timed.
  const error = row.error?.() ?? null
  row.run()
  const ours: number[] = []
  const theirs = new Map<string, number[]>()
  const skipped = new Map<string, string>()
  const first = performance.now()
  row.run()
  const once = Math.max(performance.now() - first, 0.01)
  const turns = options.quick ? 2 : 7
  const rounds = options.quick ? 2 : Math.max(1, Math.min(200, Math.round(60 / once)))
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < rounds; i++) {
      const start = performance.now()
      row.run()
      ours.push(performance.now() - start)
    }
    for (const peer of peers) {
      if (skipped.has(peer.name)) continue
      // Slow peers get fewer rounds.
      const answer = await peer.run(name, peer.name === 'torch' ? rounds : 1)
      if ('skipped' in answer) skipped.set(peer.name, answer.skipped)
      else theirs.set(peer.name, [...(theirs.get(peer.name) ?? []), ...answer.ms])
    }
  }
  const ms = { median: median(ours), min: Math.min(...ours), max: Math.max(...ours) }
  const limit = limits[row.limit]
  results.push({
    name,
    ms,
    fraction: limit > 0 ? row.work / (ms.median / 1e3) / limit : null,
    error,
    peers: Object.fromEntries([
      ...[...theirs].map(
        ([peer, list]) =>
          [peer, { median: median(list), ratio: median(list) / ms.median }] as const,
      ),
      ...[...skipped].map(([peer, reason]) => [peer, { skipped: reason }] as const),
    ]),
  })
}
for (const peer of peers) peer.close()

const [cpu] = devices()
const document = {
  date: new Date().toISOString().slice(0, 10),
  node: process.version,
  cpu: cpu?.name,
  threads: threads(),
  limits,
  results,
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(document, null, 1)}\n`)
if (options.json) {
  process.stdout.write(`${JSON.stringify(document)}\n`)
} else {
  const gigas = (value: number) => (value / 1e9).toFixed(0)
  process.stdout.write(
    `${cpu?.name}, ${threads()} threads; limits: ${gigas(limits.f32)} GFLOP/s float32, ${gigas(limits.bf16)} bfloat16, copy ${gigas(limits.copy)} GB/s\n\n`,
  )
  const cell = (peer: string) => (result: (typeof results)[number]) => {
    const value = result.peers[peer]
    if (!value) return ''
    return 'skipped' in value ? '–' : `${value.ratio.toFixed(2)} × (${value.median.toFixed(3)})`
  }
  process.stdout.write(
    `${formatTable(
      [
        'work',
        'ours ms (min–max)',
        'of limit',
        'error',
        'torch / ours (ms)',
        'tfjs-wasm / ours (ms)',
      ],
      results.map((result) => [
        result.name,
        `${result.ms.median.toFixed(3)} (${result.ms.min.toFixed(3)}–${result.ms.max.toFixed(3)})`,
        result.fraction === null ? '' : `${(100 * result.fraction).toFixed(0)} %`,
        result.error === null ? '' : result.error.toExponential(1),
        cell('torch')(result),
        cell('tfjs-wasm')(result),
      ]),
      1,
    )}\n`,
  )
  const reasons = new Set(
    results.flatMap((r) =>
      Object.entries(r.peers).flatMap(([peer, v]) =>
        'skipped' in v && v.skipped !== 'only SGD steps' ? [`${peer}: ${v.skipped}`] : [],
      ),
    ),
  )
  for (const reason of reasons) process.stdout.write(`skipped: ${reason}\n`)
}
process.exit(0)
