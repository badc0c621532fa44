/** `palimpsest continual`: any strategy on any stream of digits, alone or beside others. */

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import { scenarioNamed, strategiesNamed } from '../continual/catalog.js'
import { mlp } from '../continual/mlp.js'
import { columns, rowsOf, sectionsOf } from '../continual/report.js'
import { limited, type Scenario } from '../continual/scenario.js'
import { type MethodResult, type StudyOptions, study } from '../continual/study.js'
import { digits } from '../data/index.js'
import { wrong } from '../engine/check.js'
import type { Module } from '../nn/index.js'
import { AdamW, SGD } from '../optim/index.js'
import { type Section, writeReport } from '../report/report.js'
import { formatMatrix } from './matrix.js'
import { formatTable } from './table.js'

/** Options of both commands, as commander gives them. */
export interface ContinualCommand {
  scenario: string
  tasks: string
  seeds: string
  epochs: string
  batchSize: string
  optimizer: string
  lr: string
  hidden: string
  head: string
  set: string[]
  train?: string
  test?: string
  checkpoint?: string
  out?: string
  json?: boolean
}

/** A whole number from the command line. */
export function whole(text: string, name: string, low = 1): number {
  const value = Number(text)
  return Number.isInteger(value) && value >= low
    ? value
    : wrong(name, `a whole number of at least ${low}`, text)
}

/** 'er.memory=500' … as a record; numbers and true and false are read as such. */
export function settingsOf(list: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    list.map((text) => {
      const at = text.indexOf('=')
      if (at < 1) wrong('set', "'strategy.option=value'", text)
      const value = text.slice(at + 1)
      const number = Number(value)
      const read =
        value === 'true' || value === 'false'
          ? value === 'true'
          : value !== '' && !Number.isNaN(number)
            ? number
            : value
      return [text.slice(0, at), read]
    }),
  )
}

/** A bar on standard error where that is a terminal. */
export function progressBar() {
  const bar = process.stderr.isTTY
    ? new SingleBar({ format: '{bar} {percentage} % {what}', hideCursor: true })
    : null
  bar?.start(1, 0, { what: '' })
  return {
    onStep: ((run, step) =>
      bar?.update(run.done, {
        what: `${run.method}, seed ${run.seed}, task ${step.experience + 1}, loss ${step.loss.toFixed(3)}`,
      })) satisfies NonNullable<StudyOptions['onStep']>,
    stop: () => bar?.stop(),
  }
}

/** The table of methods and their mean accuracy matrices, for the terminal. */
export const textOf = (title: string, results: readonly MethodResult[]): string =>
  [
    title,
    '',
    formatTable(columns, rowsOf(results), 1),
    '',
    ...results.map(({ method, matrix }) => formatMatrix(method, matrix)),
  ].join('\n')

/** Results as JSON: what a reader needs to compute anything again. */
export const documentOf = (results: readonly MethodResult[]) =>
  results.map(({ runs, ...rest }) => ({
    ...rest,
    runs: runs.map(({ seed, result }) => ({ seed, ...result })),
  }))

/** Runs the named strategies; returns the exit status. */
export async function continual(
  names: readonly string[],
  options: ContinualCommand,
): Promise<number> {
  const settings = settingsOf(options.set)
  const data = digits()
  const tasks = whole(options.tasks, 'tasks')
  const scenario = (seed: number): Scenario => {
    const made = scenarioNamed(options.scenario, data, { tasks, seed })
    if (!options.train && !options.test) return made
    return limited(made, {
      train: whole(options.train ?? '1000000', 'train'),
      test: whole(options.test ?? '1000000', 'test'),
    })
  }
  const lr = Number(options.lr)
  const optimizers: Record<string, (model: Module) => SGD | AdamW> = {
    sgd: (model) => new SGD(model.parameters(), { lr }),
    adamw: (model) => new AdamW(model.parameters(), { lr }),
  }
  const optimizer =
    optimizers[options.optimizer] ?? wrong('optimizer', 'sgd or adamw', options.optimizer)
  const hidden = options.hidden.split(',').map((width) => whole(width, 'hidden'))
  // Wrong names and options are found before anything runs.
  for (const name of names) strategiesNamed(name, settings)
  const unused = Object.keys(settings).filter(
    (path) =>
      !names.some((name) => strategiesNamed(name).some((s) => path.startsWith(`${s.name}.`))),
  )
  if (unused.length > 0) wrong('set', `options of ${names.join(', ')}`, unused)
  const folder = options.checkpoint
  if (folder) mkdirSync(folder, { recursive: true })
  const stop = new AbortController()
  const interrupt = () => stop.abort()
  process.once('SIGINT', interrupt)
  const bar = progressBar()
  const seeds = Array.from({ length: whole(options.seeds, 'seeds') }, (_, i) => i + 1)
  const common = {
    epochs: whole(options.epochs, 'epochs'),
    batchSize: whole(options.batchSize, 'batch-size'),
    trainingHead: options.head as 'seen' | 'own',
  }
  try {
    const results = await study({
      ...common,
      scenario,
      model: (stream) => mlp(stream, hidden),
      optimizer,
      methods: names.map((name) => ({ name, strategies: () => strategiesNamed(name, settings) })),
      seeds,
      signal: stop.signal,
      onStep: bar.onStep,
      ...(folder
        ? {
            checkpoint: (method: string, seed: number) => ({
              path: join(folder, `${options.scenario}-${method}-${seed}.safetensors`),
              every: 50,
            }),
          }
        : {}),
    })
    bar.stop()
    const stream = scenario(1)
    const configuration = {
      scenario: stream.name,
      tasks,
      ...common,
      optimizer: `${options.optimizer}, learning rate ${lr}`,
      network: [...stream.shape, ...hidden, stream.outputs].join('–'),
      seeds: seeds.length,
    }
    const path = options.out && resolve(options.out)
    if (path) {
      const labels = stream.experiences.map(({ name }) => name)
      const sections: Section[] = sectionsOf(stream.name, results, labels, configuration)
      writeReport(path, `Palimpsest: continual learning, ${stream.name}`, sections)
    }
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ configuration, results: documentOf(results), ...(path ? { report: path } : {}) })}\n`
        : `${textOf(`${stream.name}, ${tasks} tasks, ${seeds.length} seeds`, results)}${path ? `\nreport: ${path}\n` : ''}`,
    )
    return 0
  } finally {
    bar.stop()
    process.removeListener('SIGINT', interrupt)
  }
}
