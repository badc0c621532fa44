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

/** A number that is neither NaN nor infinite. */
export const checkFinite = (value: unknown, name: string): number =>
  checkNumber(value, name, -Number.MAX_VALUE, Number.MAX_VALUE)

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

/** A list of `count` integers, or of any number of them. */
export function checkIntegers(value: unknown, name: string, count?: number): number[] {
  if (!Array.isArray(value) || (count !== undefined && value.length !== count)) {
    return wrong(name, count === undefined ? 'a list of integers' : `${count} integers`, value)
  }
  for (const entry of value) checkInteger(entry, name)
  return [...value]
}

/** A list of strings. */
export function checkStrings(value: unknown, name: string): string[] {
  if (!Array.isArray(value) || value.some((entry) => typeof entry !== 'string')) {
    return wrong(name, 'a list of strings', value)
  }
  return value
}

/** A function. */
export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') wrong(name, 'a function', value)
}

/** An object of options as it is; nothing else will do, where one was given. */
export function checkOptions<T extends object>(options: T | undefined, name = 'options'): T {
  if (options === undefined) return {} as T
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    return wrong(name, 'an object of options', options)
  }
  return options
}

/** An object of options where some of them must be given. */
export function requireOptions<T extends object>(options: T, name = 'options'): T {
  return options === undefined
    ? wrong(name, 'an object of options', options)
    : checkOptions(options, name)
}

/** Something to go through with for … of. */
export function checkIterable(value: unknown, name: string): void {
  const iterator = (value as Iterable<unknown> | null | undefined)?.[Symbol.iterator]
  if (typeof iterator !== 'function') wrong(name, 'something iterable', value)
}

/** The path of a file. */
export function checkPath(value: unknown, name = 'path'): string {
  if (typeof value !== 'string' || value === '') return wrong(name, 'a path', value)
  return value
}

/** An object of a class. */
export function checkInstance<T>(
  value: unknown,
  Class: abstract new (...args: never[]) => T,
  name: string,
): T {
  if (!(value instanceof Class)) return wrong(name, `a ${Class.name}`, value)
  return value
}
