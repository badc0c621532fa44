/** How many weights each layer keeps: random masks, and densities of many layers under one budget. */

import { checkInteger, checkNumber, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { Generator } from '../random/generator.js'
import { checkShape, type Shape, sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import type { Mask } from './mask.js'
import { selectEntries } from './select.js'

/**
 * A mask with exactly round(density·entries) entries on, every such choice equally likely: the entries
 * whose words of the seed's stream are the largest (ties, one in 2^32, go to the first).
 *
 * @param source a seed, or a generator that one number an entry is drawn from
 */
export function random(shape: Shape, density: number, source: number | Generator = 0): Mask {
  const extents = checkShape(shape)
  checkNumber(density, 'density', 0, 1)
  const g = source instanceof Generator ? source : new Generator(checkInteger(source, 'seed', 0))
  const words = g.fill(Tensor.empty(extents, 'int32'), 'integers', -(2 ** 31), 2 ** 32)
  const k = Math.round(density * words.size)
  const [mask] = selectEntries([words], k, true, 'value').masks
  words.dispose()
  return mask as Mask
}

/** Checked shapes with their sizes, and the budget in whole entries. */
function budgetOf(shapes: readonly Shape[], density: number) {
  if (!Array.isArray(shapes) || shapes.length === 0) wrong('shapes', 'a list of shapes', shapes)
  checkNumber(density, 'density', 0, 1)
  const checked = shapes.map((shape, i) => checkShape(shape, `shapes[${i}]`))
  const sizes = checked.map(sizeOf)
  if (sizes.some((size) => size === 0)) throw new ArgumentError("'shapes' holds an empty one")
  return { checked, sizes, budget: Math.round(density * sizes.reduce((a, b) => a + b, 0)) }
}

/** Whole entries a layer that sum to the budget: wanted counts rounded down, the largest rests up. */
function wholeCounts(
  wanted: readonly number[],
  sizes: readonly number[],
  budget: number,
): number[] {
  const counts = wanted.map((x, i) => Math.min(sizes[i] as number, Math.floor(x + 1e-9)))
  let left = budget - counts.reduce((a, b) => a + b, 0)
  const byRest = wanted
    .map((x, i) => [x - (counts[i] as number), i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1])
  while (left > 0) {
    for (const [, i] of byRest) {
      if (left > 0 && (counts[i] as number) < (sizes[i] as number)) {
        counts[i] = (counts[i] as number) + 1
        left--
      }
    }
  }
  return counts
}

/**
 * Erdős–Rényi-kernel densities (Mocanu et al. 2018; Evci et al., RigL, arXiv 1911.11134): layer l gets
 * ε·(Σ dims)/(Π dims), ε such that the budget is met. Layers that would pass 1 are dense, and ε is
 * solved again over the rest until none does.
 *
 * @param shapes of the layers' weights
 * @param density of all layers together, in [0, 1]
 * @returns a density a layer, each a whole number of entries over the layer's size; together they keep
 *   exactly round(density·entries)
 */
export function erk(shapes: readonly Shape[], density: number): number[] {
  const { checked, sizes, budget } = budgetOf(shapes, density)
  const scores = checked.map(
    (shape, i) =>
      (shape.length === 0 ? 1 : shape.reduce((a, b) => a + b, 0)) / (sizes[i] as number),
  )
  const dense = new Set<number>()
  let epsilon = 0
  for (;;) {
    let left = budget
    let weight = 0
    for (const [i, size] of sizes.entries()) {
      if (dense.has(i)) left -= size
      else weight += (scores[i] as number) * size
    }
    epsilon = weight > 0 ? Math.max(0, left) / weight : 0
    const over = sizes
      .map((_, i) => i)
      .filter((i) => !dense.has(i) && epsilon * (scores[i] as number) > 1)
    if (over.length === 0) break
    for (const i of over) dense.add(i)
  }
  const wanted = sizes.map((size, i) =>
    dense.has(i) ? size : epsilon * (scores[i] as number) * size,
  )
  return wholeCounts(wanted, sizes, budget).map((count, i) => count / (sizes[i] as number))
}

/** The same density for each layer, in whole entries that together keep round(density·entries). */
export function uniform(shapes: readonly Shape[], density: number): number[] {
  const { sizes, budget } = budgetOf(shapes, density)
  const counts = wholeCounts(
    sizes.map((size) => density * size),
    sizes,
    budget,
  )
  return counts.map((count, i) => count / (sizes[i] as number))
}
