/** Sets an optimizer's options from schedules, step by step. */

import { checkInteger, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { checkSchedule, type Schedule } from './schedules.js'

/** What is scheduled: any optimizer's groups. */
export interface Scheduled {
  readonly paramGroups: readonly object[]
}

/** A saved scheduler; the schedules themselves are code and are given again. */
export interface SchedulerState {
  step: number
  /** For each scheduled option the groups' base values. */
  base: Record<string, number[]>
}

/**
 * Multiplies groups' options by schedules: `lr` where one schedule is given, or several options by
 * name. Base values are those that the groups have when the scheduler is made, and step 0's values are
 * set then.
 *
 * ```ts
 * const scheduler = new Scheduler(optimizer, warmup(100, cosine(900)))
 * for (…) { optimizer.step(); scheduler.step() }
 * ```
 */
export class Scheduler {
  /** Steps done. */
  stepCount = 0
  readonly #groups: readonly Record<string, unknown>[]
  readonly #schedules: Record<string, readonly Schedule[]>
  #base: Record<string, number[]>

  /**
   * @param optimizer what is scheduled
   * @param schedules of `lr`, or by option; a list has one for each group
   */
  constructor(
    optimizer: Scheduled,
    schedules: Schedule | readonly Schedule[] | Record<string, Schedule | readonly Schedule[]>,
  ) {
    const groups = optimizer?.paramGroups as unknown as Record<string, unknown>[]
    if (!Array.isArray(groups)) wrong('optimizer', 'an optimizer', optimizer)
    if (schedules === null || !['function', 'object'].includes(typeof schedules)) {
      wrong('schedules', 'a schedule, one a group, or some by option', schedules)
    }
    const byOption =
      typeof schedules === 'function' || Array.isArray(schedules)
        ? { lr: schedules as Schedule | readonly Schedule[] }
        : (schedules as Record<string, Schedule | readonly Schedule[]>)
    this.#groups = groups
    this.#schedules = {}
    this.#base = {}
    for (const [option, given] of Object.entries(byOption)) {
      const list = Array.isArray(given)
        ? (given as readonly Schedule[])
        : groups.map(() => given as Schedule)
      if (list.length !== groups.length) {
        wrong(option, `${groups.length} schedules, one a group`, list)
      }
      for (const schedule of list) checkSchedule(schedule, option)
      this.#base[option] = groups.map((group, g) => {
        const value = group[option]
        if (typeof value !== 'number') wrong(`paramGroups[${g}].${option}`, 'a number', value)
        return value as number
      })
      this.#schedules[option] = list
    }
    this.#apply()
  }

  #apply(): void {
    for (const [option, list] of Object.entries(this.#schedules)) {
      this.#groups.forEach((group, g) => {
        const base = this.#base[option]?.[g] as number
        group[option] = base * (list[g] as Schedule)(this.stepCount)
      })
    }
  }

  /** Goes on to the next step's values; call it after the optimizer's step. */
  step(): void {
    this.stepCount++
    this.#apply()
  }

  stateDict(): SchedulerState {
    return { step: this.stepCount, base: structuredClone(this.#base) }
  }

  /** Goes on from a saved scheduler, and sets its values. */
  loadStateDict(state: SchedulerState): void {
    checkInteger(state?.step, 'state.step', 0)
    const own = Object.keys(this.#base)
    for (const option of own) {
      const base = state.base?.[option]
      if (base?.length !== this.#groups.length || !base.every((x) => typeof x === 'number')) {
        throw new ArgumentError(
          `expected ${this.#groups.length} base values of ${option} but got ${JSON.stringify(base)}`,
        )
      }
    }
    this.stepCount = state.step
    this.#base = structuredClone(
      Object.fromEntries(own.map((option) => [option, state.base[option] as number[]])),
    )
    this.#apply()
  }
}
