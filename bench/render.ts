/** Benchmark results for people: a table, a comparison with an older run, a page with pictures. */

import { formatTable } from '../lib/cli/table.js'
import type { Section } from '../lib/report/report.js'
import { type BenchDocument, bestPeer, type Result } from './document.js'

const giga = (value: number) => (value / 1e9).toFixed(0)

/** The machine in one line. */
export const machineLine = ({ cpu, level, threads, limits, node, date }: BenchDocument): string =>
  `${cpu} (${level}), ${threads} threads, Node ${node}, ${date}; limits: ${giga(limits.f32)} GFLOP/s float32, ${giga(limits.f64)} float64, ${giga(limits.bf16)} bfloat16; GB/s: copy ${giga(limits.copy)}, read ${giga(limits.read)}, write ${giga(limits.write)}`

export const columns = [
  'work',
  'ours ms (min–max)',
  'best peer (ms)',
  'ratio',
  'of limit',
  'error',
  'other peers',
]

const shortMs = (ms: number) => (ms < 1 ? ms.toFixed(4) : ms < 100 ? ms.toFixed(2) : ms.toFixed(0))

/** One row of the table. */
export function cells(result: Result): string[] {
  const best = bestPeer(result)
  const others = Object.entries(result.peers).flatMap(([name, value]) =>
    'skipped' in value || name === best?.name ? [] : [`${name} ${value.ratio.toFixed(2)} ×`],
  )
  return [
    result.name,
    `${shortMs(result.ms.median)} (${shortMs(result.ms.min)}–${shortMs(result.ms.max)})`,
    best ? `${best.name} (${shortMs(best.median)})` : '–',
    best ? `${best.ratio.toFixed(2)} ×` : '',
    result.fraction === null ? '' : `${(100 * result.fraction).toFixed(0)} % ${result.limit}`,
    result.error === null ? '' : result.error.toExponential(1),
    others.join(', '),
  ]
}

/** The whole run as text. */
export function renderText(document: BenchDocument): string {
  const reasons = new Set(
    document.results.flatMap((result) =>
      Object.entries(result.peers).flatMap(([peer, value]) =>
        'skipped' in value ? [`skipped ${peer}: ${value.skipped}`] : [],
      ),
    ),
  )
  return [
    machineLine(document),
    '',
    formatTable(columns, document.results.map(cells), 1),
    ...reasons,
    '',
  ].join('\n')
}

/** Now against an older run: how many times faster each row is. */
export function renderComparison(now: BenchDocument, before: BenchDocument): string {
  const old = new Map(before.results.map((result) => [result.name, result]))
  const lines = now.results.flatMap((result) => {
    const then = old.get(result.name)
    if (!then) return []
    const ratioOf = (r: Result) => bestPeer(r)?.ratio
    const shown = (ratio: number | undefined) => (ratio ? `${ratio.toFixed(2)} ×` : '–')
    return [
      [
        result.name,
        shortMs(then.ms.median),
        shortMs(result.ms.median),
        `${(then.ms.median / result.ms.median).toFixed(2)} ×`,
        shown(ratioOf(then)),
        shown(ratioOf(result)),
      ],
    ]
  })
  return `${formatTable(['work', `${before.date} ms`, 'now ms', 'faster', 'peer then', 'peer now'], lines, 1)}\n`
}

/** A page: ratios over sizes for each kind of work, and the table. */
export function reportSections(document: BenchDocument): Section[] {
  const kinds = new Map<string, Result[]>()
  for (const result of document.results) {
    const kind = result.name.replace(/ [\dx-]+( \d+)*$/, '')
    kinds.set(kind, [...(kinds.get(kind) ?? []), result])
  }
  const pictures = [...kinds].flatMap(([kind, results]): Section[] => {
    const measured = results.filter((result) => bestPeer(result))
    if (measured.length < 2) return []
    return [
      {
        kind: 'bars',
        title: `${kind}: the best peer's time over ours`,
        yLabel: 'ratio',
        reference: 1,
        bars: measured.map((result) => ({
          name: result.name.slice(kind.length + 1) || kind,
          value: bestPeer(result)?.ratio ?? 0,
        })),
      },
    ]
  })
  return [
    { kind: 'text', title: 'Machine', text: machineLine(document) },
    ...pictures,
    { kind: 'table', title: 'All rows', columns, rows: document.results.map(cells) },
  ]
}
