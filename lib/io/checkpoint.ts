/** The whole state of a training in one file: models, optimizers, schedules, generators, data positions. */

import { requireOptions, wrong } from '../engine/check.js'
import { ArgumentError, FormatError } from '../engine/errors.js'
import { copyState, loadState, type StateValue, saveState } from './state.js'

/** Anything that can tell its state and take it back: modules, optimizers, schedulers, generators, loaders. */
export interface Stateful {
  stateDict(): unknown
  loadStateDict(state: never): void
}

/** What a checkpoint is made of: things with state, and plain values (numbers, tensors, trees of them). */
export type CheckpointParts = Readonly<Record<string, Stateful | readonly Stateful[] | StateValue>>

const isStateful = (value: unknown): value is Stateful =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<Stateful>).stateDict === 'function' &&
  typeof (value as Partial<Stateful>).loadStateDict === 'function'

/** The things with state in a part: one, or a list. */
function statefulsOf(part: unknown): readonly Stateful[] | null {
  if (isStateful(part)) return [part]
  return Array.isArray(part) && part.length > 0 && part.every(isStateful) ? part : null
}

const stateOf = (thing: Stateful) => thing.stateDict() as StateValue

/**
 * Saves everything that a training needs to go on to the same bits; the file is there whole or not at all.
 *
 * ```ts
 * saveCheckpoint('run.safetensors', { model, optimizers: [muon, adamw], schedule, generator, loader, step })
 * const { step } = loadCheckpoint('run.safetensors', { model, optimizers: [muon, adamw], schedule, generator, loader })
 * ```
 */
export function saveCheckpoint(path: string, parts: CheckpointParts): void {
  if (typeof parts !== 'object' || parts === null) wrong('parts', 'an object', parts)
  const stateful: Record<string, StateValue> = {}
  const plain: Record<string, StateValue> = {}
  for (const [name, part] of Object.entries(parts)) {
    const things = statefulsOf(part)
    if (things) stateful[name] = things.map(stateOf)
    else plain[name] = part as StateValue
  }
  saveState(path, { checkpoint: 1, stateful, plain })
}

/**
 * Restores what saveCheckpoint() wrote: every part gets its state back, all of them or none.
 *
 * @param parts by the names that they were saved under; those of the file that are not named here are
 *   left alone
 * @returns the plain values
 * @throws FormatError where the file is no checkpoint; ArgumentError where it lacks a part
 */
export function loadCheckpoint(
  path: string,
  parts: Readonly<Record<string, Stateful | readonly Stateful[]>> = {},
): Record<string, StateValue> {
  requireOptions(parts, 'parts')
  const file = loadState(path) as Record<string, StateValue> | null
  const saved = file?.['stateful'] as Record<string, readonly StateValue[]> | undefined
  const plain = file?.['plain'] as Record<string, StateValue> | undefined
  if (file?.['checkpoint'] !== 1 || !isTree(saved) || !isTree(plain)) {
    throw new FormatError(`${path} holds no checkpoint`)
  }
  const work: [Stateful, StateValue][] = []
  for (const [name, part] of Object.entries(parts)) {
    const things = statefulsOf(part)
    if (!things) wrong(`parts.${name}`, 'something with stateDict() and loadStateDict()', part)
    const states = Object.hasOwn(saved, name) ? (saved[name] as unknown[] | undefined) : undefined
    if (!states || !Array.isArray(states) || states.length !== things.length) {
      const there = states ? `${states.length} states` : 'no state'
      throw new ArgumentError(
        `${path} has ${there} for '${name}', expected ${things.length}; it holds [${Object.keys(saved).join(', ')}]`,
      )
    }
    for (const [i, thing] of things.entries()) work.push([thing, states[i] as StateValue])
  }
  const before: [Stateful, StateValue][] = []
  try {
    for (const [thing, state] of work) {
      before.push([thing, copyState(stateOf(thing))])
      thing.loadStateDict(state as never)
    }
  } catch (error) {
    for (const [thing, state] of before) thing.loadStateDict(state as never)
    throw error
  }
  return plain
}

const isTree = (value: unknown): value is Record<string, never> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
