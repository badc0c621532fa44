/** Random tensors. */

import { cast } from '../autograd/ops/memory.js'
import { checkInstance, checkInteger, checkOptions, wrong } from '../engine/check.js'
import type { CreateOptions } from '../tensor/create.js'
import { checkDType } from '../tensor/dtype.js'
import { checkShape, type Shape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { filled, Generator } from './generator.js'

export { Generator, philox } from './generator.js'

let generator = new Generator(0)

/** Restarts the default generator. */
export function manualSeed(seed: number): Generator {
  generator = new Generator(checkInteger(seed, 'seed'))
  return generator
}

/** The generator that functions use where none is given. */
export const defaultGenerator = (): Generator => generator

/** The generator that an option gives, else the default one. */
export const checkGenerator = (given: Generator | undefined): Generator =>
  given === undefined ? generator : checkInstance(given, Generator, 'generator')

/** Runs `fn` (synchronous) with `own` as the default generator. */
export function withGenerator<T>(own: Generator, fn: () => T): T {
  const before = generator
  generator = own
  try {
    return fn()
  } finally {
    generator = before
  }
}

/** Options of functions that draw random tensors. */
export interface RandomOptions extends CreateOptions {
  /** The default generator where missing. */
  generator?: Generator
}

function draw(
  kind: keyof typeof filled,
  shape: Shape,
  a: number,
  b: number,
  given: RandomOptions,
): Tensor {
  const { generator: g = generator, requiresGrad = false, ...options } = checkOptions(given)
  checkInstance(g, Generator, 'generator')
  const dtype = checkDType(options.dtype ?? 'float32')
  const direct = (filled[kind] as readonly string[]).includes(dtype)
  const x = g.fill(Tensor.empty(checkShape(shape), direct ? dtype : 'float64'), kind, a, b)
  const result = cast(x, dtype)
  if (result !== x) x.dispose()
  return requiresGrad ? result.requireGrad() : result
}

/** Uniform in [0, 1), 24 bits; float32 by default. */
export const rand = (shape: Shape, options: RandomOptions = {}): Tensor =>
  draw('uniform', shape, 0, 1, options)

/** Standard normal; float32 by default. */
export const randn = (shape: Shape, options: RandomOptions = {}): Tensor =>
  draw('normal', shape, 0, 1, options)

/** Integers in [low, high), at most 2^32 different ones; int32 by default. */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: RandomOptions = {},
): Tensor {
  checkInteger(low, 'low')
  checkInteger(high, 'high')
  if (high <= low) wrong('high', `an integer above ${low}`, high)
  checkInteger(high - low, 'high - low', 1, 2 ** 32)
  return draw('integers', shape, low, high - low, { dtype: 'int32', ...checkOptions(options) })
}
