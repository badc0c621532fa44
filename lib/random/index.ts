/** Random tensors. */

import { checkInteger, wrong } from '../engine/check.js'
import type { CreateOptions } from '../tensor/create.js'
import { tensor } from '../tensor/create.js'
import { checkShape, type Shape, sizeOf } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import { Generator } from './generator.js'

export { Generator, philox } from './generator.js'

let generator = new Generator(0)

/** Restarts the default generator. */
export function manualSeed(seed: number): Generator {
  generator = new Generator(seed)
  return generator
}

/** The generator that functions use where none is given. */
export const defaultGenerator = (): Generator => generator

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

function fill(
  shape: Shape,
  { generator: g = generator, ...options }: RandomOptions,
  draw: (g: Generator) => number,
): Tensor {
  const extents = checkShape(shape)
  const values = Float64Array.from({ length: sizeOf(extents) }, () => draw(g))
  return tensor(values, { ...options, shape: extents })
}

/** Uniform in [0, 1). */
export const rand = (shape: Shape, options: RandomOptions = {}): Tensor =>
  fill(shape, options, (g) => g.uniform())

/** Standard normal. */
export const randn = (shape: Shape, options: RandomOptions = {}): Tensor =>
  fill(shape, options, (g) => g.normal())

/** Integers in [low, high); int32 by default. */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: RandomOptions = {},
): Tensor {
  checkInteger(low, 'low')
  checkInteger(high, 'high')
  if (high <= low) wrong('high', `an integer above ${low}`, high)
  return fill(shape, { dtype: 'int32', ...options }, (g) => low + g.integer(high - low))
}
