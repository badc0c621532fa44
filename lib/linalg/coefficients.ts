/**
 * Coefficient schedules of Newton–Schulz: step i maps singular values σ → aσ + bσ³ + cσ⁵.
 */

import { checkInteger, checkNumber, checkOptions, wrong } from '../engine/check.js'

/** One step's a, b, c. */
export type Quintic = readonly [a: number, b: number, c: number]

/** A schedule by name, or explicit steps. */
export type Coefficients = 'muon' | 'polar-express' | 'cubic' | readonly Quintic[]

/** A schedule ready to run. */
export interface Schedule {
  steps: readonly Quintic[]
  /** What the Frobenius norm is multiplied by before it divides X. */
  normFactor: number
}

/** Keller Jordan's constants: fast for small σ, ends near [0.7, 1.2] rather than at 1. */
const muon: Quintic = [3.4445, -4.775, 2.0315]

/** The classical third-order iteration; converges to 1, slowly. */
const cubic: Quintic = [1.5, -0.5, 0]

/**
 * Polar Express for five steps with a safety of 2 % in all but the last, as in microsoft/dion
 * (dion/polar_express.py), after arXiv 2505.16932.
 */
const polarExpress: readonly Quintic[] = [
  [8.156554524902461, -22.48329292557795, 15.878769915207462],
  [4.042929935166739, -2.808917465908714, 0.5000178451051316],
  [3.8916678022926607, -2.772484153217685, 0.5060648178503393],
  [3.285753657755655, -2.3681294933425376, 0.46449024233003106],
  [2.3465413258596377, -1.7097828382687081, 0.42323551169305323],
]

/** Solves a small dense system by elimination with partial pivoting. */
function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length
  const rows = matrix.map((row, i) => [...row, right[i] as number])
  for (let k = 0; k < n; k++) {
    let best = k
    for (let i = k + 1; i < n; i++) {
      if (Math.abs(rows[i]?.[k] as number) > Math.abs(rows[best]?.[k] as number)) best = i
    }
    const pivot = rows[best] as number[]
    rows[best] = rows[k] as number[]
    rows[k] = pivot
    for (let i = 0; i < n; i++) {
      if (i === k) continue
      const row = rows[i] as number[]
      const factor = (row[k] as number) / (pivot[k] as number)
      for (let j = k; j <= n; j++) row[j] = (row[j] as number) - factor * (pivot[j] as number)
    }
  }
  return rows.map((row, i) => (row[n] as number) / (row[i] as number))
}

/**
 * The odd quintic nearest to 1 on [low, high] in the largest deviation, by Remez exchange: the error
 * alternates at low, the two interior extrema and high.
 */
export function minimaxQuintic(low: number, high: number): Quintic {
  checkNumber(low, 'low', Number.MIN_VALUE, Number.MAX_VALUE)
  checkNumber(high, 'high', low, Number.MAX_VALUE)
  // Near a point the system is singular; the limit is Newton–Schulz of fifth order.
  if (low / high > 1 - 5e-6) return [15 / 8 / high, -10 / 8 / high ** 3, 3 / 8 / high ** 5]
  let inner = (3 * low + high) / 4
  let outer = (low + 3 * high) / 4
  let result: Quintic = [0, 0, 0]
  let error = Infinity
  for (let round = 0; round < 100; round++) {
    const points = [low, inner, outer, high]
    const rows = points.map((x, i) => [x, x ** 3, x ** 5, i % 2 === 0 ? 1 : -1])
    const [a, b, c, e] = solve(rows, [1, 1, 1, 1]) as [number, number, number, number]
    result = [a, b, c]
    if (Math.abs(Math.abs(e) - Math.abs(error)) < 1e-15) break
    error = e
    const root = Math.sqrt(9 * b * b - 20 * a * c)
    inner = Math.sqrt((-3 * b - root) / (10 * c))
    outer = Math.sqrt((-3 * b + root) / (10 * c))
  }
  return result
}

/**
 * The Polar Express schedule (arXiv 2505.16932, Algorithm 1) for any number of steps: each step is the
 * minimax quintic on the interval that the one before left.
 *
 * @param steps how many
 * @param lower the smallest singular value that is to reach 1; 1e-3 in the paper
 * @param safety every step but the last is computed for arguments 1 + safety times larger, against
 *   rounding errors that lift σ above 1
 * @param cushion smallest ratio of low to high that a step is designed for; 0.02407327424182761 in
 *   the paper's code
 */
export function polarExpressSchedule(
  steps: number,
  options: { lower?: number; safety?: number; cushion?: number } = {},
): Quintic[] {
  const { lower = 1e-3, safety = 2e-2, cushion = 0.02407327424182761 } = checkOptions(options)
  checkInteger(steps, 'steps', 0, 100)
  checkNumber(lower, 'lower', Number.MIN_VALUE, 1)
  checkNumber(safety, 'safety', 0, 1)
  checkNumber(cushion, 'cushion', 0, 1)
  const schedule: Quintic[] = []
  let low = lower
  let high = 1
  for (let i = 0; i < steps; i++) {
    let [a, b, c] = minimaxQuintic(Math.max(low, cushion * high), high)
    const at = (x: number) => a * x + b * x ** 3 + c * x ** 5
    if (cushion * high > low) {
      // Designed for a narrower interval: centre the image of the whole one around 1 again.
      const scale = 2 / (at(low) + at(high))
      ;[a, b, c] = [a * scale, b * scale, c * scale]
    }
    const image = at(low)
    const s = i < steps - 1 ? 1 + safety : 1
    schedule.push([a / s, b / s ** 3, c / s ** 5])
    low = image
    high = 2 - image
  }
  return schedule
}

/** Schedules that were computed, by their number of steps. */
const computed = new Map<number, readonly Quintic[]>([[5, polarExpress]])

/** The steps that a name or a list of steps means. */
export function scheduleOf(coefficients: Coefficients, steps: number): Schedule {
  if (Array.isArray(coefficients)) {
    for (const step of coefficients as readonly Quintic[]) {
      if (!Array.isArray(step) || step.length !== 3)
        wrong('coefficients', 'triples [a, b, c]', step)
      for (const value of step) checkNumber(value, 'coefficients', -1e6, 1e6)
    }
    return { steps: coefficients as readonly Quintic[], normFactor: 1 }
  }
  checkInteger(steps, 'steps', 0, 100)
  switch (coefficients) {
    case 'muon':
      return { steps: Array.from({ length: steps }, () => muon), normFactor: 1 }
    case 'cubic':
      return { steps: Array.from({ length: steps }, () => cubic), normFactor: 1 }
    case 'polar-express': {
      const schedule = computed.get(steps) ?? polarExpressSchedule(steps)
      computed.set(steps, schedule)
      return { steps: schedule, normFactor: 1.02 }
    }
    default:
      return wrong(
        'coefficients',
        "'muon', 'polar-express', 'cubic' or a list of triples",
        coefficients,
      )
  }
}
