/** `palimpsest reproduce`: published claims, and what we see of them. */

import { resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { ExperimentResult, Figure } from '../../experiments/experiment.js'
import { experiments } from '../../experiments/index.js'
import { ArgumentError } from '../engine/errors.js'
import { type Section, writeReport } from '../report/report.js'
import { formatTable } from './table.js'

/** Options of the command. */
export interface ReproduceCommand {
  seeds: string
  quick?: boolean
  html?: string
  json?: boolean
}

const columns = ['figure', 'measured', '± (95 %)', 'published']

const cells = ({ name, mean, interval, published, digits = 3 }: Figure): string[] => [
  name,
  mean.toFixed(digits),
  interval === null ? '' : interval.toFixed(digits),
  published ?? '',
]

const wrap = (text: string, width = 96): string =>
  text.replace(new RegExp(`(.{1,${width}})(\\s+|$)`, 'g'), '$1\n').trimEnd()

/** Runs one experiment, or all; returns the exit status. */
export async function reproduce(system: string, options: ReproduceCommand): Promise<number> {
  const ids = system === 'all' ? Object.keys(experiments) : system === '' ? [] : [system]
  if (system === '') {
    const list = await Promise.all(Object.values(experiments).map((load) => load()))
    const rows = list.map(({ default: e }) => [e.system, e.paper])
    process.stdout.write(
      options.json
        ? `${JSON.stringify(rows.map(([id, paper]) => ({ system: id, paper })))}\n`
        : `${formatTable(['system', 'paper'], rows)}\n`,
    )
    return 0
  }
  const count = Number(options.seeds)
  if (!Number.isInteger(count) || count < 1) {
    throw new ArgumentError(`expected a positive integer for 'seeds' but got ${options.seeds}`)
  }
  const seeds = Array.from({ length: count }, (_, i) => i + 1)
  const documents: ({ system: string; paper: string; claim: string; seconds: number } & Omit<
    ExperimentResult,
    'plots'
  >)[] = []
  const sections: Section[] = []
  for (const id of ids) {
    const load = experiments[id]
    if (!load) {
      throw new ArgumentError(
        `expected one of ${Object.keys(experiments).join(', ')} for 'system' but got ${id}`,
      )
    }
    const { default: experiment } = await load()
    const bar = process.stderr.isTTY
      ? new SingleBar({ format: `${id} {bar} {percentage} % {message}`, hideCursor: true })
      : null
    bar?.start(1, 0, { message: '' })
    const begin = performance.now()
    const { plots, ...result } = await experiment
      .run({
        seeds,
        quick: options.quick ?? false,
        progress: (message, fraction) => bar?.update(fraction, { message }),
      })
      .finally(() => bar?.stop())
    const seconds = (performance.now() - begin) / 1e3
    const { paper, claim } = experiment
    documents.push({ system: id, paper, claim, seconds, ...result })
    const rows = result.measured.map(cells)
    const holds = result.holds ? 'holds here' : 'does not hold here'
    sections.push(
      { kind: 'text', title: paper, text: claim },
      { kind: 'text', title: `Verdict: ${holds}`, text: result.verdict },
      { kind: 'table', title: 'Figures', columns, rows },
      ...plots,
    )
    if (!options.json) {
      process.stdout.write(
        `${id}: ${paper}\n\nclaim:   ${wrap(claim)}\n\n${formatTable(columns, rows, 1)}\n\nverdict: ${holds}. ${wrap(result.verdict)}\n(${seconds.toFixed(0)} s, ${count} seeds${options.quick ? ', shortened run' : ''})\n\n`,
      )
    }
  }
  if (options.html) {
    writeReport(resolve(options.html), 'Palimpsest: published claims', sections)
    if (!options.json) process.stdout.write(`report: ${resolve(options.html)}\n`)
  }
  if (options.json) process.stdout.write(`${JSON.stringify(documents)}\n`)
  return 0
}
