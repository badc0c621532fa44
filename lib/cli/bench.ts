/** `palimpsest bench`: microbenchmarks beside their peers. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { BenchDocument } from '../../bench/document.js'
import { renderComparison, renderText, reportSections } from '../../bench/render.js'
import { peerNames, runBench } from '../../bench/run.js'
import { ArgumentError, FormatError } from '../engine/errors.js'
import { writeAtomically } from '../io/atomic.js'
import { writeReport } from '../report/report.js'

/** Options of the command. */
export interface BenchCommand {
  json?: boolean
  quick?: boolean
  peers?: string
  compare?: string
  html?: string
  out?: string
}

function readDocument(path: string): BenchDocument {
  try {
    const document = JSON.parse(readFileSync(path, 'utf8')) as BenchDocument
    if (Array.isArray(document.results)) return document
  } catch (error) {
    throw new FormatError(`'compare': ${path} cannot be read: ${(error as Error).message}`)
  }
  throw new FormatError(`'compare': ${path} is no result of 'palimpsest bench --out'`)
}

/** Runs the rows that the filters name; returns the exit status. */
export async function bench(filters: string[], options: BenchCommand): Promise<number> {
  const peers = options.peers?.split(',').map((name) => name.trim())
  for (const name of peers ?? []) {
    if (name && !peerNames.some((known) => known.startsWith(name))) {
      throw new ArgumentError(
        `expected some of ${peerNames.join(', ')} for 'peers' but got ${name}`,
      )
    }
  }
  const before = options.compare ? readDocument(options.compare) : null
  const bar = process.stderr.isTTY ? new SingleBar({ format: '{bar} {value}/{total} {row}' }) : null
  const document = await runBench({
    filters,
    ...(peers ? { peers: peers.filter(Boolean) } : {}),
    quick: options.quick ?? false,
    onRow: (row, index, total) =>
      index === 0 ? bar?.start(total, 0, { row }) : bar?.update(index, { row }),
  })
  bar?.stop()
  if (document.results.length === 0) {
    throw new ArgumentError(`no row's name contains ${filters.map((f) => `'${f}'`).join(' or ')}`)
  }
  const text = JSON.stringify(document, null, 1)
  if (options.out) {
    writeAtomically(resolve(options.out), (append) => append(new TextEncoder().encode(`${text}\n`)))
  }
  if (options.html) {
    writeReport(resolve(options.html), 'Palimpsest: microbenchmarks', reportSections(document))
  }
  process.stdout.write(options.json ? `${text}\n` : renderText(document))
  if (before && !options.json) process.stdout.write(`\n${renderComparison(document, before)}`)
  return 0
}
