/**
 * The two-phase protocol of Cha & Cho, Hyperparameters in Continual Learning: A Reality Check,
 * arXiv 2403.09066: hyper-parameters are chosen on a scenario made of one dataset and then used,
 * unchanged, on the same scenario made of another; only the second phase counts. Choosing and judging
 * on the same stream, as is common, rewards methods for having many knobs.
 */

import { checkFunction, checkIntegers, requireOptions, wrong } from '../engine/check.js'
import { NumericalError } from '../engine/errors.js'
import type { Estimate } from './metrics.js'
import type { Scenario } from './scenario.js'
import type { Strategy } from './strategy.js'
import { type MethodResult, type SharedOptions, type StudyOptions, study } from './study.js'

/** One choice of hyper-parameters. */
export type Choice = Readonly<Record<string, number>>

/** A method with its knobs. */
export interface Algorithm {
  name: string
  /** The values tried of each hyper-parameter: all combinations. */
  grid: Readonly<Record<string, readonly number[]>>
  make: (choice: Choice) => { strategies: Strategy[]; options?: Partial<SharedOptions> }
}

/** What the protocol needs. */
export interface ProtocolOptions extends SharedOptions {
  algorithms: readonly Algorithm[]
  model: StudyOptions['model']
  tuning: { scenario: (seed: number) => Scenario; seeds: readonly number[] }
  evaluation: { scenario: (seed: number) => Scenario; seeds: readonly number[] }
  signal?: AbortSignal
  progress?: (message: string, fraction: number) => void
}

/** What came out for one algorithm. */
export interface ProtocolResult {
  algorithm: string
  /** The best choice of phase one, and its average accuracy there. */
  choice: Choice
  tuned: Estimate
  /** The average accuracy of that choice in phase two, and all that was measured there. */
  evaluated: Estimate
  result: MethodResult
  /** All choices with their average accuracy in phase one; 0 where training diverged. */
  tried: { choice: Choice; accuracy: number }[]
}

/** All combinations of a grid's values. */
export function combinations(grid: Algorithm['grid']): Choice[] {
  return Object.entries(requireOptions(grid, 'grid')).reduce<Choice[]>(
    (choices, [name, values]) => {
      if (!Array.isArray(values) || values.length === 0)
        wrong(`grid.${name}`, 'at least one value', values)
      return choices.flatMap((choice) => values.map((value) => ({ ...choice, [name]: value })))
    },
    [{}],
  )
}

const accuracyOf = ({ metrics }: MethodResult) => metrics.averageAccuracy as Estimate

/**
 * Runs both phases for every algorithm; a tie goes to the choice that comes first. Choices under which
 * training diverges lose.
 *
 * @throws NumericalError where training diverges under all choices of an algorithm, or in phase two.
 */
export async function tuneThenEvaluate(options: ProtocolOptions): Promise<ProtocolResult[]> {
  const { algorithms, tuning, evaluation, model, signal, progress, ...shared } =
    requireOptions(options)
  if (!Array.isArray(algorithms)) wrong('algorithms', 'a list of algorithms', algorithms)
  for (const [i, algorithm] of algorithms.entries()) {
    if (typeof algorithm?.make !== 'function') {
      wrong(`algorithms[${i}]`, 'an Algorithm: { name, grid, make(choice) }', algorithm)
    }
  }
  checkFunction(model, 'model')
  for (const [name, phase] of Object.entries({ tuning, evaluation })) {
    checkFunction(requireOptions(phase, name).scenario, `${name}.scenario`)
    checkIntegers(phase.seeds, `${name}.seeds`)
  }
  const total = algorithms.reduce(
    (sum, { grid }) =>
      sum + combinations(grid).length * tuning.seeds.length + evaluation.seeds.length,
    0,
  )
  let done = 0
  const results: ProtocolResult[] = []
  for (const algorithm of algorithms) {
    const measure = async (choice: Choice, phase: typeof tuning, label: string) => {
      const { options: own } = algorithm.make(choice)
      const [result] = await study({
        ...shared,
        ...phase,
        model,
        ...(signal ? { signal } : {}),
        methods: [
          {
            name: algorithm.name,
            strategies: () => algorithm.make(choice).strategies,
            ...(own ? { options: own } : {}),
          },
        ],
        onRun: () => progress?.(`${label} ${algorithm.name}`, ++done / total),
      })
      return result as MethodResult
    }
    const tried: ProtocolResult['tried'] = []
    let best: { choice: Choice; tuned: Estimate } | null = null
    let diverged: NumericalError | null = null
    for (const choice of combinations(algorithm.grid)) {
      try {
        const tuned = accuracyOf(await measure(choice, tuning, 'tuning'))
        tried.push({ choice, accuracy: tuned.mean })
        if (!best || tuned.mean > best.tuned.mean) best = { choice, tuned }
      } catch (error) {
        // A rate or strength that is too large is an answer of the search, not its end.
        if (!(error instanceof NumericalError)) throw error
        diverged = error
        tried.push({ choice, accuracy: 0 })
      }
    }
    if (!best) throw diverged
    const { choice, tuned } = best
    const result = await measure(choice, evaluation, 'evaluating')
    const evaluated = accuracyOf(result)
    results.push({ algorithm: algorithm.name, choice, tuned, evaluated, result, tried })
  }
  return results
}
