/**
 * Schedules: functions of the step number that give a factor of the base learning rate (or of another
 * option). Step 0 is the first. They compose: `warmup(100, cosine(900))`, `sequence([…])`,
 * `times(a, b)`.
 */

import {
  checkChoice,
  checkFinite,
  checkInteger,
  checkNumber,
  checkOptions,
  requireOptions,
  wrong,
} from '../engine/check.js'

/** The factor at a step, counted from 0. */
export type Schedule = (step: number) => number

/** How far step is between 0 and steps, in [0, 1]. */
const done = (step: number, steps: number) =>
  steps === 0 ? 1 : Math.min(1, Math.max(0, step / steps))

const checkSteps = (steps: unknown) => checkInteger(steps, 'steps', 0)

/** One factor for all steps; 1 by default. */
export function constant(factor = 1): Schedule {
  checkFinite(factor, 'factor')
  return () => factor
}

/** From one factor to another in a straight line over `steps`, then the last. 1 to 0 by default. */
export function linear(steps: number, options: { from?: number; to?: number } = {}): Schedule {
  const { from = 1, to = 0 } = checkOptions(options)
  checkFinite(from, 'from')
  checkFinite(to, 'to')
  checkSteps(steps)
  return (step) => from + (to - from) * done(step, steps)
}

/** Half a cosine from 1 to `final` over `steps` (Loshchilov & Hutter 2017), then `final`; 0 by default. */
export function cosine(steps: number, options: { final?: number } = {}): Schedule {
  const { final = 0 } = checkOptions(options)
  checkFinite(final, 'final')
  checkSteps(steps)
  return (step) => final + ((1 - final) * (1 + Math.cos(Math.PI * done(step, steps)))) / 2
}

/** Cosines from 1 to `final` again and again, each `factor` times longer than the last (SGDR). */
export function cosineRestarts(
  steps: number,
  options: { factor?: number; final?: number } = {},
): Schedule {
  const { factor = 1, final = 0 } = checkOptions(options)
  checkFinite(final, 'final')
  checkInteger(steps, 'steps', 1)
  checkNumber(factor, 'factor', 1, Number.MAX_VALUE)
  return (step) => {
    let length = steps
    let at = step
    while (at >= length) {
      at -= length
      length = Math.round(length * factor)
    }
    return cosine(length, { final })(at)
  }
}

/** (1 − step/steps)^power from 1 to `final`, then `final`. */
export function polynomial(
  steps: number,
  options: { power?: number; final?: number } = {},
): Schedule {
  const { power = 1, final = 0 } = checkOptions(options)
  checkFinite(final, 'final')
  checkSteps(steps)
  checkNumber(power, 'power', 0)
  return (step) => final + (1 - final) * (1 - done(step, steps)) ** power
}

/** gamma^step; with `every`, gamma^⌊step/every⌋: PyTorch's ExponentialLR and StepLR. */
export function exponential(gamma: number, options: { every?: number } = {}): Schedule {
  const { every = 1 } = checkOptions(options)
  checkNumber(gamma, 'gamma', 0, Number.MAX_VALUE)
  checkInteger(every, 'every', 1)
  return (step) => gamma ** Math.floor(step / every)
}

/** gamma for every milestone passed: PyTorch's MultiStepLR. */
export function milestones(steps: readonly number[], options: { gamma?: number } = {}): Schedule {
  const { gamma = 0.1 } = checkOptions(options)
  if (!Array.isArray(steps)) wrong('steps', 'a list of step numbers', steps)
  for (const step of steps) checkInteger(step, 'steps', 0)
  checkNumber(gamma, 'gamma', 0)
  return (step) => gamma ** steps.filter((at) => step >= at).length
}

/** √(offset / (step + offset)): what follows a warm-up of `offset` steps in the first transformer. */
export function inverseSqrt(offset: number): Schedule {
  checkInteger(offset, 'offset', 1)
  return (step) => Math.sqrt(offset / (step + offset))
}

/**
 * A straight line from `from` (0 by default) up to where `then` begins, reached at step `steps`; then
 * `then`, which counts its own steps from 0. The first step is (1/steps) of the way up, not 0.
 */
export function warmup(
  steps: number,
  then: Schedule = constant(),
  options: { from?: number } = {},
): Schedule {
  const { from = 0 } = checkOptions(options)
  checkFinite(from, 'from')
  checkSteps(steps)
  checkSchedule(then, 'then')
  return (step) =>
    step >= steps ? then(step - steps) : from + ((then(0) - from) * (step + 1)) / (steps + 1)
}

/** Options of warmupStableDecay, in steps. */
export interface WarmupStableDecayOptions {
  warmup: number
  stable: number
  decay: number
  /** The last factor; 0 by default. */
  final?: number
  /** 'linear' (default), 'cosine', or '1-sqrt' 1 − √(done) (Hägele et al., arXiv 2405.18392). */
  shape?: 'linear' | 'cosine' | '1-sqrt'
}

/** Up, along, down (WSD; Hu et al., arXiv 2404.06395): training may go on from the stable part. */
export function warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
  const { warmup: up, stable, decay, final = 0, shape = 'linear' } = requireOptions(options)
  checkFinite(final, 'final')
  for (const [name, value] of Object.entries({ warmup: up, stable, decay })) {
    checkInteger(value, name, 0)
  }
  checkChoice(shape, 'shape', ['linear', 'cosine', '1-sqrt'])
  const down: Schedule =
    shape === 'linear'
      ? linear(decay, { to: final })
      : shape === 'cosine'
        ? cosine(decay, { final })
        : (step) => final + (1 - final) * (1 - Math.sqrt(done(step, decay)))
  return warmup(up, sequence([[constant(), stable], [down]]))
}

/** Up to 1 and down to `final` in one go, both in straight lines (Smith's one-cycle). */
export function oneCycle(
  steps: number,
  options: { peak?: number; from?: number; final?: number } = {},
): Schedule {
  const { peak = 0.3, from = 0.04, final = 1e-4 } = checkOptions(options)
  checkFinite(from, 'from')
  checkFinite(final, 'final')
  checkInteger(steps, 'steps', 1)
  checkNumber(peak, 'peak', 0, 1)
  const up = Math.round(steps * peak)
  return sequence([[linear(up, { from, to: 1 }), up], [linear(steps - up, { to: final })]])
}

/** Schedules one after the other, each with its number of steps and counting from 0; the last goes on. */
export function sequence(parts: readonly (readonly [Schedule, number?])[]): Schedule {
  if (!Array.isArray(parts) || parts.length === 0)
    wrong('parts', 'pairs of schedule and steps', parts)
  parts.forEach((part, i) => {
    checkSchedule(part?.[0], `parts[${i}][0]`)
    if (i < parts.length - 1) checkInteger(part[1], `parts[${i}][1]`, 0)
  })
  return (step) => {
    let at = step
    for (const [schedule, steps] of parts.slice(0, -1) as [Schedule, number][]) {
      if (at < steps) return schedule(at)
      at -= steps
    }
    return (parts.at(-1) as readonly [Schedule])[0](at)
  }
}

/** The product of schedules. */
export function times(...schedules: Schedule[]): Schedule {
  schedules.forEach((schedule, i) => {
    checkSchedule(schedule, `schedules[${i}]`)
  })
  return (step) => schedules.reduce((product, schedule) => product * schedule(step), 1)
}

/** A function. */
export function checkSchedule(value: unknown, name: string): void {
  if (typeof value !== 'function') wrong(name, 'a schedule, which is a function', value)
}
