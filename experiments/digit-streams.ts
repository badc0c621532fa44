/** What the continual experiments share: streams of digits, methods by name, and the report's tail. */

import {
  limited,
  type Method,
  type MethodResult,
  mlp,
  type Scenario,
  type SharedOptions,
  sectionsOf,
  strategiesNamed,
  study,
} from '../lib/continual/index.js'
import { type Digits, digits } from '../lib/data/index.js'
import { type AdamW, SGD } from '../lib/optim/index.js'
import type { ExperimentOptions, ExperimentResult } from './experiment.js'

let loaded: Digits | null = null

/** The digits, read once. */
export function theDigits(): Digits {
  loaded ??= digits()
  return loaded
}

/** Plain SGD. */
export const sgd =
  (lr: number) =>
  (model: Parameters<NonNullable<SharedOptions['optimizer']>>[0]): SGD | AdamW =>
    new SGD(model.parameters(), { lr })

/** A method by the catalog's name, with options by path. */
export const method = (name: string, set: Record<string, unknown> = {}, label = name): Method => ({
  name: label,
  strategies: () => strategiesNamed(name, set),
})

/** Runs methods on a stream over the experiment's seeds, shortened where that is asked for. */
export async function onDigits(
  { seeds, quick, progress, signal }: ExperimentOptions,
  options: SharedOptions & {
    scenario: (seed: number) => Scenario
    methods: readonly Method[]
    hidden?: readonly number[]
    /** Which share of the whole experiment this study is. */
    part?: readonly [from: number, to: number]
  },
): Promise<MethodResult[]> {
  const { scenario, methods, hidden = [256, 256], part = [0, 1], ...shared } = options
  return study({
    ...shared,
    scenario: (seed) =>
      quick ? limited(scenario(seed), { train: 100, test: 50 }) : scenario(seed),
    model: (stream) => mlp(stream, hidden),
    methods,
    seeds,
    ...(signal ? { signal } : {}),
    onStep: (run) =>
      progress(`${run.method}, seed ${run.seed}`, part[0] + (part[1] - part[0]) * run.done),
  })
}

/** One figure of every seed's run of a method. */
export function valuesOf(
  results: readonly MethodResult[],
  name: string,
  metric: 'averageAccuracy' | 'forgetting' = 'averageAccuracy',
): number[] {
  const found = results.find(({ method: m }) => m === name)
  return found?.runs.map(({ result }) => result.metrics[metric]) ?? []
}

/** Tables, curves and heat maps of a study, for an experiment's report. */
export function plotsOf(
  title: string,
  results: readonly MethodResult[],
  scenario: Scenario,
  configuration: Record<string, unknown>,
): ExperimentResult['plots'] {
  const names = scenario.experiences.map(({ name }) => name)
  return sectionsOf(title, results, names, configuration)
}
