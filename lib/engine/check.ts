/** One vocabulary for wrong arguments: expected X for 'y' but got Z. */

import { ArgumentError } from './errors.js'

/** A value as an error message shows it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return `the function ${value.name || '(anonymous)'}`
  if (Array.isArray(value))
    return `[${value.slice(0, 8).map(shown).join(', ')}${value.length > 8 ? ', …' : ''}]`
  if (typeof value === 'object' && value !== null) return `a ${value.constructor?.name ?? 'object'}`
  return String(value)
}

/** Throws the ArgumentError for a parameter. */
export function wrong(name: string, expected: string, given: unknown): never {
  throw new ArgumentError(`expected ${expected} for '${name}' but got ${shown(given)}`)
}

/** A finite number in [low, high]. */
export function checkNumber(
  value: unknown,
  name: string,
  low = -Infinity,
  high = Infinity,
): number {
  if (typeof value !== 'number' || Number.isNaN(value) || value < low || value > high) {
    const range = low === -Infinity && high === Infinity ? '' : ` in [${low}, ${high}]`
    wrong(name, `a number${range}`, value)
  }
  return value as number
}

/** An integer in [low, high]. */
export function checkInteger(
  value: unknown,
  name: string,
  low = Number.MIN_SAFE_INTEGER,
  high = Number.MAX_SAFE_INTEGER,
): number {
  if (!Number.isSafeInteger(value) || (value as number) < low || (value as number) > high) {
    wrong(name, `an integer in [${low}, ${high}]`, value)
  }
  return value as number
}

/** One of a list of strings. */
export function checkChoice<T extends string>(
  value: unknown,
  name: string,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) wrong(name, choices.map((c) => `'${c}'`).join(' or '), value)
  return value as T
}
