/**
 * `palimpsest compare-optimizers`: how many steps AdamW, Muon and NorMuon need on real digits.
 *
 * Learning rates end low, so that a run is only as good as its budget lets it be: each budget of steps is
 * a training of its own, with the rate tuned for it (experiments/tune-optimizers.ts, the same grid size
 * for each optimizer). Compared are the smallest budgets whose mean accuracy over the seeds reaches the
 * one that AdamW has at its largest.
 */

import { resolve } from 'node:path'
import { MultiBar, Presets } from 'cli-progress'
import { digits } from '../data/index.js'
import { devices } from '../engine/devices.js'
import { ArgumentError } from '../engine/errors.js'
import { type Section, writeReport } from '../report/report.js'
import {
  batchSizes,
  type NetworkName,
  networks,
  type OptimizerName,
  optimizerNames,
  type Run,
  train,
} from './classifier.js'
import { formatTable } from './table.js'

/** Options of the command. */
export interface CompareOptions {
  quick?: boolean
  json?: boolean
  out: string
  seeds: string
  /** Only this one. */
  network?: string
}

/** Budgets of steps that are tried, in order. */
export const budgets: Record<NetworkName, readonly number[]> = {
  MLP: [30, 45, 60, 90, 120, 180, 240],
  'conv net': [31, 62, 124, 248],
}

/** Budgets that rates are tuned for; others take the rate of the next smaller one. */
export const tunedBudgets: Record<NetworkName, readonly number[]> = {
  MLP: [30, 60, 120, 240],
  'conv net': [31, 62, 124, 248],
}

/** Learning rates by tuned budget. AdamW's are those of what Muon and NorMuon leave to it, too. */
const rates: Record<NetworkName, Record<OptimizerName, readonly number[]>> = {
  MLP: {
    AdamW: [0.016, 0.016, 0.016, 0.016],
    Muon: [0.08, 0.04, 0.02, 0.02],
    NorMuon: [0.16, 0.04, 0.02, 0.02],
  },
  'conv net': {
    // Muon and NorMuon are where AdamW ends before their last budget, which keeps the rate of 124 steps.
    AdamW: [0.032, 0.032, 0.016, 0.032],
    Muon: [0.16, 0.08, 0.04, 0.04],
    NorMuon: [0.16, 0.08, 0.08, 0.08],
  },
}

const rateFor = (network: NetworkName, optimizer: OptimizerName, steps: number): number => {
  const at = tunedBudgets[network].findLastIndex((budget) => budget <= steps)
  return rates[network][optimizer][Math.max(0, at)] as number
}

/** One optimizer's runs at one budget. */
interface Outcome {
  network: NetworkName
  optimizer: OptimizerName
  steps: number
  runs: Run[]
  /** Mean over seeds. */
  accuracy: number
  /** Standard deviation over seeds; 0 for one. */
  deviation: number
  loss: number
  msPerStep: number
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

function outcome(
  network: NetworkName,
  optimizer: OptimizerName,
  steps: number,
  runs: Run[],
): Outcome {
  const accuracy = mean(runs.map((run) => run.accuracy))
  const squares = runs.reduce((sum, run) => sum + (run.accuracy - accuracy) ** 2, 0)
  return {
    network,
    optimizer,
    steps,
    runs,
    accuracy,
    deviation: Math.sqrt(squares / Math.max(1, runs.length - 1)),
    loss: mean(runs.map((run) => run.loss)),
    msPerStep: mean(runs.map((run) => run.msPerStep)),
  }
}

const columns = [
  'network',
  'optimizer',
  'steps',
  'accuracy',
  '± (sd)',
  'test loss',
  'ms a step',
  'images a second',
  '',
]

/** Runs the comparison; returns the exit status. */
export async function compareOptimizers(options: CompareOptions): Promise<number> {
  const { quick = false, json = false, out } = options
  const names = Object.keys(networks) as NetworkName[]
  const chosen = names.filter((name) => (options.network ?? name) === name)
  if (chosen.length === 0) {
    throw new ArgumentError(
      `expected ${names.join(' or ')} for 'network' but got ${options.network}`,
    )
  }
  const count = Number(options.seeds)
  if (!Number.isInteger(count) || count < 1) {
    throw new ArgumentError(`expected a positive integer for 'seeds' but got ${options.seeds}`)
  }
  const seeds = Array.from({ length: quick ? 1 : count }, (_, i) => i + 1)
  const { train: trainSet, test } = digits()
  // Progress is for people: silent where standard error is no terminal.
  const bars = process.stderr.isTTY
    ? new MultiBar(
        { format: '{name} {bar} {value}/{total} steps {text}', hideCursor: true },
        Presets.shades_classic,
      )
    : null
  const outcomes: Outcome[] = []
  const begin = performance.now()
  for (const network of chosen) {
    const plan = quick ? [4, 8] : budgets[network]
    let mark = Infinity
    for (const optimizer of optimizerNames) {
      for (const steps of plan) {
        const name = `${network} · ${optimizer}`.padEnd(18)
        const bar = bars?.create(steps * seeds.length, 0, { name, text: '' })
        const runs: Run[] = []
        for (const seed of seeds) {
          const lr = rateFor(network, optimizer, steps)
          const restLr = rateFor(network, 'AdamW', steps)
          const own = { network, optimizer, train: trainSet, test, steps, seed, lr, restLr }
          runs.push(await train({ ...own, onStep: () => bar?.increment() }))
        }
        const result = outcome(network, optimizer, steps, runs)
        bar?.update({ text: `${(100 * result.accuracy).toFixed(2)} %` })
        bar?.stop()
        outcomes.push(result)
        // The others need go no further than AdamW's mark.
        if (result.accuracy >= mark) break
      }
      if (optimizer === 'AdamW') mark = (outcomes.at(-1) as Outcome).accuracy
    }
  }
  bars?.stop()
  const seconds = (performance.now() - begin) / 1000
  const of = (network: NetworkName, optimizer: OptimizerName) =>
    outcomes.filter((o) => o.network === network && o.optimizer === optimizer)
  const summary = chosen.map((network) => {
    const last = of(network, 'AdamW').at(-1) as Outcome
    const reached = optimizerNames.map(
      (optimizer) => of(network, optimizer).find((o) => o.accuracy >= last.accuracy)?.steps ?? null,
    )
    return {
      network,
      mark: last.accuracy,
      steps: Object.fromEntries(optimizerNames.map((name, i) => [name, reached[i]])),
    }
  })
  const rows = outcomes.map((o) => {
    const { mark, steps } = summary.find(
      ({ network }) => network === o.network,
    ) as (typeof summary)[number]
    return [
      o.network,
      o.optimizer,
      String(o.steps),
      `${(100 * o.accuracy).toFixed(2)} %`,
      (100 * o.deviation).toFixed(2),
      o.loss.toFixed(4),
      o.msPerStep.toFixed(2),
      Math.round((1000 * batchSizes[o.network]) / o.msPerStep).toLocaleString('en'),
      steps[o.optimizer] === o.steps && o.accuracy >= mark ? '←' : '',
    ]
  })
  const sentences = summary.map(({ network, mark, steps }) => {
    const of = (name: OptimizerName) => steps[name] ?? 'never'
    return `${network}: AdamW's ${(100 * mark).toFixed(2)} % takes AdamW ${of('AdamW')} steps, Muon ${of('Muon')}, NorMuon ${of('NorMuon')}.`
  })
  const path = resolve(out)
  const [cpu] = devices()
  writeReport(path, 'Palimpsest: three optimizers on handwritten digits', [
    {
      kind: 'text',
      title: 'What was done',
      text: `8,000 real handwritten digits to train on, 2,000 held out. Every budget of steps is a training of its own: a rate that rises over the first tenth and falls to a twentieth, tuned on 2,000 of the training digits with the same grid for each optimizer; batches of ${Object.entries(
        batchSizes,
      )
        .map(([name, size]) => `${size} (${name})`)
        .join(
          ', ',
        )}; ${seeds.length} seeds; ${cpu?.name}, ${cpu?.threads} threads; ${seconds.toFixed(0)} seconds.`,
    },
    {
      kind: 'text',
      title: 'Smallest budget that reaches AdamW’s last accuracy',
      text: sentences.join(' '),
    },
    { kind: 'table', title: 'Results', columns, rows },
    ...chosen.map(
      (network): Section => ({
        kind: 'curves',
        title: `${network}: accuracy on held-out digits at the end of a budget`,
        xLabel: 'steps',
        yLabel: 'accuracy (%)',
        percent: true,
        curves: optimizerNames.map((name) => ({
          name,
          points: of(network, name).map((o) => ({ x: o.steps, y: o.accuracy })),
        })),
      }),
    ),
  ])
  process.stdout.write(
    json
      ? `${JSON.stringify({ seconds, report: path, seeds, summary, outcomes })}\n`
      : `${formatTable(columns, rows)}\n\n${sentences.join('\n')}\n${seconds.toFixed(0)} s · report: ${path}\n`,
  )
  return 0
}
