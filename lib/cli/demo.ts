/** `palimpsest demo`: five tasks in a row on real digits, naively and by four strategies. */

import { resolve } from 'node:path'
import { strategiesNamed } from '../continual/catalog.js'
import { mlp } from '../continual/mlp.js'
import { sectionsOf } from '../continual/report.js'
import { limited, permuted, type Scenario, type Split, split } from '../continual/scenario.js'
import { type MethodResult, study } from '../continual/study.js'
import { digits } from '../data/index.js'
import { devices } from '../engine/devices.js'
import { SGD } from '../optim/index.js'
import { type Section, writeReport } from '../report/report.js'
import { documentOf, progressBar, textOf, whole } from './continual.js'

/** Options of the command. */
export interface DemoOptions {
  quick?: boolean
  json?: boolean
  out: string
  seeds: string
}

export const methods = ['naive', 'ewc', 'a-gem', 'er', 'der++']

/**
 * The two streams. Learning rates and strengths were chosen by experiments/tune-demo.ts on training digits
 * that the demo does not judge by; what `set` does not name has its default, epochs are by hand.
 */
export const parts = [
  {
    title: 'Permuted digits',
    about: 'every task shows the pixels in another order; one set of ten outputs',
    make: (data: Split, seed: number) => permuted(data, { tasks: 5, seed }),
    lr: 0.1,
    epochs: 2,
    set: { 'ewc.lambda': 50, 'der++.alpha': 1 },
  },
  {
    title: 'Two new digits a task',
    about: 'all digits seen so far must be told apart, without being told the task',
    make: (data: Split, _seed: number) => split(data, { tasks: 5 }),
    lr: 0.2,
    epochs: 3,
    set: { 'ewc.lambda': 50, 'der++.alpha': 1 },
  },
] as const

const share = (value: number) => `${(100 * value).toFixed(0)} %`

/** What is left of the first task, in a sentence. */
function firstTask(results: readonly MethodResult[]): string {
  const left = results.map(({ method, matrix }) => `${method} ${share(matrix.at(-1)?.[0] ?? 0)}`)
  const before = results[0]?.matrix[0]?.[0] ?? 0
  return `The first task, ${share(before)} right when it was learned, is ${left.join(', ')} right after the fifth.`
}

/** Runs the demo; returns the exit status. */
export async function demo({ quick = false, json = false, out, seeds }: DemoOptions) {
  const list = Array.from({ length: whole(seeds, 'seeds') }, (_, i) => i + 1)
  const began = performance.now()
  const data = digits()
  const sections: Section[] = []
  const documents: Record<string, unknown> = {}
  const texts: string[] = []
  for (const { title, about, make, lr, epochs, set } of parts) {
    const scenario = (seed: number): Scenario =>
      quick ? limited(make(data, seed), { train: 300, test: 100 }) : make(data, seed)
    const bar = progressBar()
    const results = await study({
      scenario,
      model: (stream) => mlp(stream),
      optimizer: (model) => new SGD(model.parameters(), { lr }),
      methods: methods.map((name) => ({ name, strategies: () => strategiesNamed(name, set) })),
      seeds: list,
      epochs,
      batchSize: 32,
      onStep: bar.onStep,
    }).finally(bar.stop)
    const names = scenario(1).experiences.map(({ name }) => name)
    const configuration = {
      network: `784–256–256–${scenario(1).outputs}, ReLU`,
      optimizer: `SGD, learning rate ${lr}`,
      epochs,
      'batch size': 32,
      'memory of er, der++, a-gem': '200 examples',
      seeds: list.length,
    }
    sections.push(
      { kind: 'text', title, text: `${about}. ${firstTask(results)}` },
      ...sectionsOf(title, results, names, configuration),
    )
    documents[title] = { configuration, results: documentOf(results) }
    texts.push(`${textOf(`${title}: ${about}`, results)}\n${firstTask(results)}\n`)
    if (!json) process.stdout.write(`${texts.at(-1)}\n`)
  }
  const seconds = (performance.now() - began) / 1000
  const path = resolve(out)
  const [cpu] = devices()
  sections.unshift({
    kind: 'text',
    title: 'What was done',
    text: `A small network learned five tasks one after the other, each on 8,000 real handwritten digits in all and judged on 2,000 others; ${list.length === 1 ? 'one seed' : `${list.length} seeds`}; ${cpu?.name}, ${cpu?.threads} threads; ${seconds.toFixed(0)} seconds.`,
  })
  writeReport(path, 'Palimpsest: five tasks in a row', sections)
  process.stdout.write(
    json
      ? `${JSON.stringify({ seconds, report: path, ...documents })}\n`
      : `${seconds.toFixed(0)} s · report: ${path}\n`,
  )
  return 0
}
