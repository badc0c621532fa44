/** Several methods on several seeds of one scenario, and what comes out on average. */

import { existsSync } from 'node:fs'
import {
  checkFunction,
  checkInteger,
  checkIntegers,
  requireOptions,
  wrong,
} from '../engine/check.js'
import { type Estimate, estimate, type Metrics } from './metrics.js'
import type { Scenario } from './scenario.js'
import type { Strategy } from './strategy.js'
import { type RunResult, type StepReport, Trainer, type TrainerOptions } from './trainer.js'

/** Options that all runs share. */
export type SharedOptions = Omit<TrainerOptions, 'scenario' | 'strategies' | 'seed' | 'model'>

/** A method by its parts; they are made anew for every run. */
export interface Method {
  name: string
  strategies: () => Strategy[]
  /** Replaces shared options. */
  options?: Partial<SharedOptions>
}

/** What a study is made of. */
export interface StudyOptions extends SharedOptions {
  /** The stream of a seed: the seed may choose permutations or class orders. */
  scenario: (seed: number) => Scenario
  /** Makes the model for a stream. */
  model: (scenario: Scenario) => TrainerOptions['model']
  methods: readonly Method[]
  seeds: readonly number[]
  signal?: AbortSignal
  /** Where a run is saved, every so many steps; a run whose file is there goes on from it. */
  checkpoint?: (method: string, seed: number) => { path: string; every: number }
  /** Told after every step: which run it is, and how far all are. */
  onStep?: (run: { method: string; seed: number; done: number }, step: StepReport) => void
  /** Told after every run. */
  onRun?: (run: { method: string; seed: number }, result: RunResult) => void
}

/** What one method did. */
export interface MethodResult {
  method: string
  /** Options of its strategies, by their names. */
  options: Record<string, unknown>
  runs: { seed: number; result: RunResult }[]
  /** Mean and 95 % interval over seeds; null where a figure has no meaning in this setting. */
  metrics: Record<keyof Metrics, Estimate | null>
  /** The mean accuracy matrix. */
  matrix: (number | null)[][]
  /** Seconds of training a run, and the bytes that its strategies keep at the end. */
  trainSeconds: Estimate
  strategyBytes: number
}

/** Runs every method on every seed, one after the other. */
export async function study(options: StudyOptions): Promise<MethodResult[]> {
  const { scenario, model, methods, seeds, signal, checkpoint, onStep, onRun, ...shared } =
    requireOptions(options)
  checkFunction(scenario, 'scenario')
  checkFunction(model, 'model')
  if (checkIntegers(seeds, 'seeds').length === 0) wrong('seeds', 'at least one seed', seeds)
  for (const seed of seeds) checkInteger(seed, 'seeds', 0)
  if (!Array.isArray(methods) || methods.length === 0) {
    wrong('methods', 'at least one method', methods)
  }
  for (const [i, method] of methods.entries()) {
    if (typeof method?.strategies !== 'function') {
      wrong(`methods[${i}]`, 'a Method: { name, strategies() }', method)
    }
  }
  const results: MethodResult[] = []
  for (const [m, { name, strategies, options: own }] of methods.entries()) {
    const runs: MethodResult['runs'] = []
    let used: readonly Strategy[] = []
    for (const [s, seed] of seeds.entries()) {
      const stream = scenario(seed)
      used = strategies()
      const trainer = new Trainer({
        ...shared,
        ...own,
        scenario: stream,
        model: model(stream),
        strategies: used,
        seed,
      })
      const saved = checkpoint?.(name, seed)
      if (saved && existsSync(saved.path)) trainer.load(saved.path)
      const before = m * seeds.length + s
      const result = await trainer.run({
        ...(signal ? { signal } : {}),
        ...(saved ? { checkpoint: saved } : {}),
        onStep: (step) =>
          onStep?.(
            {
              method: name,
              seed,
              done: (before + step.step / step.steps) / (methods.length * seeds.length),
            },
            step,
          ),
      })
      onRun?.({ method: name, seed }, result)
      runs.push({ seed, result })
    }
    results.push(summary(name, used, runs))
  }
  return results
}

function summary(
  method: string,
  strategies: readonly Strategy[],
  runs: MethodResult['runs'],
): MethodResult {
  const figures = runs.map(({ result }) => result.metrics)
  const over = (key: keyof Metrics): Estimate | null => {
    const values = figures.map((metrics) => metrics[key])
    return values.includes(null) ? null : estimate(values as number[])
  }
  const first = (runs[0] as MethodResult['runs'][number]).result
  return {
    method,
    options: Object.fromEntries(strategies.map((s) => [s.name, s.options ?? {}])),
    runs,
    metrics: {
      averageAccuracy: over('averageAccuracy'),
      averageIncrementalAccuracy: over('averageIncrementalAccuracy'),
      forgetting: over('forgetting'),
      backwardTransfer: over('backwardTransfer'),
      forwardTransfer: over('forwardTransfer'),
    },
    matrix: first.matrix.map((row, i) =>
      row.map((value, j) =>
        value === null
          ? null
          : runs.reduce((sum, { result }) => sum + (result.matrix[i]?.[j] ?? 0), 0) / runs.length,
      ),
    ),
    trainSeconds: estimate(
      runs.map(({ result }) => result.experiences.reduce((sum, e) => sum + e.trainSeconds, 0)),
    ),
    strategyBytes: first.experiences.at(-1)?.strategyBytes ?? 0,
  }
}
