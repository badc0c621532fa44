/** `palimpsest reproduce`: published claims, and what we see of them. */

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { ExperimentResult, Figure } from '../../experiments/experiment.js'
import { experiments } from '../../experiments/index.js'
import { devices } from '../engine/devices.js'
import { ArgumentError } from '../engine/errors.js'
import { writeAtomically } from '../io/atomic.js'
import { writeReport } from '../report/report.js'
import { formatTable } from './table.js'

/** Options of the command. */
export interface ReproduceCommand {
  seeds: string
  quick?: boolean
  /** Folder for a page with pictures and a JSON document of every system. */
  out: string
  json?: boolean
}

/** What is told of one experiment. */
type Document = Omit<ExperimentResult, 'plots'> & {
  system: string
  paper: string
  claim: string
  seeds: number
  quick: boolean
  seconds: number
  /** The processor and its threads. */
  machine: string
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
  const chosen = await Promise.all(
    ids.map(async (id) => {
      const load = experiments[id]
      if (load) return (await load()).default
      throw new ArgumentError(
        `expected one of ${Object.keys(experiments).join(', ')} for 'system' but got ${id}`,
      )
    }),
  )
  // Before the work: a folder that cannot be made is told at once.
  const folder = resolve(options.out)
  mkdirSync(folder, { recursive: true })
  const [cpu] = devices()
  const machine = `${cpu?.name}, ${cpu?.threads} threads`
  const documents: Document[] = []
  for (const experiment of chosen) {
    const { system: id, paper, claim } = experiment
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
    const quick = options.quick ?? false
    const about = { system: id, paper, claim, seeds: count, quick, seconds, machine }
    const document = { ...about, ...result }
    documents.push(document)
    const rows = result.measured.map(cells)
    const holds = result.holds ? 'holds here' : 'does not hold here'
    const path = join(folder, id)
    writeReport(`${path}.html`, `Palimpsest: ${id}`, [
      { kind: 'text', title: paper, text: claim },
      { kind: 'text', title: `Verdict: ${holds}`, text: result.verdict },
      {
        kind: 'text',
        title: 'How it was run',
        text: `${count} seeds${quick ? ', a shortened run that says nothing' : ''}; ${seconds.toFixed(0)} s on ${machine}.`,
      },
      { kind: 'table', title: 'Figures', columns, rows },
      ...plots,
    ])
    writeAtomically(`${path}.json`, (write) =>
      write(Buffer.from(`${JSON.stringify(document, null, 2)}\n`)),
    )
    if (!options.json) {
      process.stdout.write(
        `${id}: ${paper}\n\nclaim:   ${wrap(claim)}\n\n${formatTable(columns, rows, 1)}\n\n${wrap(`verdict: ${holds}. ${result.verdict}`)}\n(${seconds.toFixed(0)} s, ${count} seeds${quick ? ', shortened run' : ''}; ${machine})\npictures and figures: ${path}.html, ${path}.json\n\n`,
      )
    }
  }
  if (options.json) process.stdout.write(`${JSON.stringify(documents)}\n`)
  return 0
}
