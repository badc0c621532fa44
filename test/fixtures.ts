/** What the tests share: fixtures made by PyTorch, and numbers that look random but are not. */

import { readFileSync } from 'node:fs'
import { grad, gradcheck, type Tensor as T, Tensor } from '../lib/index.js'

/** Reads test/fixtures/<name>.json (from dist/test/ at run time). */
export function fixture(
  name: string,
): { cases: Record<string, number[]> } & Record<string, unknown> {
  return JSON.parse(
    readFileSync(new URL(`../../test/fixtures/${name}.json`, import.meta.url), 'utf8'),
  )
}

/** The numbers of fixtures/wave.py: a 32-bit hash of (i, seed), in [-1, 1). */
export function wave(n: number, seed: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => {
    let x = (Math.imul(i, 2654435761) + Math.imul(seed, 40503) + 1) >>> 0
    x ^= x >>> 16
    x = Math.imul(x, 2246822519)
    x ^= x >>> 13
    x = Math.imul(x, 3266489917)
    x ^= x >>> 16
    return (x >>> 0) / 2 ** 31 - 1
  })
}

/** ‖a − b‖ / ‖b‖ in float64. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0
  let size = 0
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2
    size += (b[i] as number) ** 2
  }
  return Math.sqrt(difference / size)
}

/** wave() as a float64 tensor. */
export const waves = (shape: readonly number[], seed: number, scale = 1): T =>
  Tensor.from({
    data: Float64Array.from(
      wave(
        shape.reduce((a, b) => a * b, 1),
        seed,
      ),
      (value) => value * scale,
    ),
    shape,
  })

/** Checks the gradient of a function that is itself made of a gradient. */
export function gradcheckTwice(
  fn: (...inputs: T[]) => T,
  inputs: T[],
  options: { atol: number; rtol?: number } = { atol: 1e-5 },
): void {
  for (const k of inputs.keys()) {
    const slope = (...xs: T[]) =>
      grad(
        fn(...xs)
          .square()
          .sum(),
        [xs[k] as T],
        { createGraph: true },
      )[0] as T
    gradcheck(slope, inputs, options)
  }
}
