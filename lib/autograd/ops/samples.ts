/**
 * Gradients of shared operands sample by sample: what the rules in the tape's `SampleRule` are made of.
 * The samples lie along the first axis of the operation's result, one after the other; a result with k
 * rows a sample (time steps merged into the batch, say) has k·samples of them.
 */

import { ArgumentError } from '../../engine/errors.js'
import type { Shape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import type { Measure } from '../tape.js'
import { abs, add, eq, mul, square, where } from './elementwise.js'
import { indexAdd } from './indexing.js'
import { cast, filled } from './memory.js'
import { matmul } from './products.js'
import { tril } from './rearrange.js'
import { sum } from './reductions.js'
import { reshape, slice, transpose, unsqueeze } from './views.js'

/** The ArgumentError of an operation that cannot give gradients sample by sample. */
export class NotPerSample extends ArgumentError {
  constructor(message: string) {
    super(`per-sample gradients: ${message}`)
    this.name = 'ArgumentError'
  }
}

/** At most this many elements of per-sample gradients are in memory while measures are summed. */
const mostElements = 1 << 22

/** Of 0 both measures are 0, and of a product the product of both factors'. */
const measured = (x: Tensor, measure: 'square' | 'abs') => (measure === 'abs' ? abs(x) : square(x))

/** [k·samples, …] as [samples, k, …]. */
export function bySample(x: Tensor, samples: number): Tensor {
  const [rows, ...rest] = x.shape
  if (rows === undefined || rows % samples !== 0) {
    throw new NotPerSample(
      `a tensor of shape [${x.shape.join(', ')}] does not hold ${samples} samples along its first axis`,
    )
  }
  return reshape(x, [samples, rows / samples, ...rest])
}

/** Per-sample gradients, or the sum of a measure of them. */
export const finish = (grads: Tensor, measure: Measure): Tensor =>
  measure ? sum(measured(grads, measure), 0) : grads

/** A sum over samples that is made for some of them at a time. */
function inChunks(
  samples: number,
  elements: number,
  part: (begin: number, end: number) => Tensor,
): Tensor {
  const chunk = Math.max(1, Math.floor(mostElements / Math.max(1, elements)))
  let total: Tensor | null = null
  for (let at = 0; at < samples; at += chunk) {
    const next = part(at, Math.min(samples, at + chunk))
    total = total ? add(total, next) : next
  }
  return total as Tensor
}

/** finish() for gradients that are made for some samples at a time, `elements` each. */
export const finishInChunks = (
  samples: number,
  elements: number,
  measure: Measure,
  grads: (begin: number, end: number) => Tensor,
): Tensor =>
  measure
    ? inChunks(samples, elements, (begin, end) => finish(grads(begin, end), measure))
    : grads(0, samples)

/** Of the weight in y = x·weightᵀ: per sample gᵀ·x, over its rows. */
export function productSamples(g: Tensor, x: Tensor, samples: number, measure: Measure): Tensor {
  if (measure && g.shape[0] === samples) {
    // One row a sample: the square of an outer product is the outer product of squares.
    return matmul(transpose(measured(g, measure)), measured(x, measure))
  }
  const [left, right] = [bySample(g, samples), bySample(x, samples)]
  const elements = (g.shape[1] as number) * (x.shape[1] as number)
  return finishInChunks(samples, elements, measure, (begin, end) =>
    matmul(transpose(slice(left, 0, begin, end)), slice(right, 0, begin, end)),
  )
}

/** Of what was added to every row. */
export const rowSamples = (g: Tensor, samples: number, measure: Measure): Tensor =>
  finish(measure && g.shape[0] === samples ? g : sum(bySample(g, samples), 1), measure)

/** Whether an operand was broadcast along the samples of a result like g. */
export const isBroadcast = (g: Tensor, shape: Shape): boolean =>
  shape.length < g.rank || (shape[0] === 1 && g.shape[0] !== 1)

/** Of an operand that was broadcast along the samples. */
export function broadcastSamples(
  g: Tensor,
  shape: Shape,
  samples: number,
  measure: Measure,
): Tensor {
  const missing = g.rank - shape.length
  const apart = bySample(g, samples)
  // Axis i of g is axis i + 1 of `apart`; its own first one holds a sample's rows.
  const axes = g.shape
    .map((extent, i) => (i < missing || (shape[i - missing] === 1 && extent !== 1) ? i + 1 : 0))
    .filter((axis) => axis > 0)
  return finish(reshape(sum(apart, axes), [samples, ...shape]), measure)
}

/** Of a table from which rows were taken: the gradients of the rows of each sample, added up. */
export function tableSamples(
  g: Tensor,
  index: Tensor,
  rows: number,
  skip: number,
  samples: number,
  measure: Measure,
): Tensor {
  const width = g.shape.at(-1) as number
  const flat = reshape(g, [-1, width])
  const numbers = reshape(index, [-1])
  const kept =
    skip < 0
      ? flat
      : mul(flat, unsqueeze(where(eq(numbers, skip), 0, filled(numbers.shape, 1, g)), 1))
  const each = bySample(kept, samples)
  const labels = bySample(numbers, samples)
  const steps = labels.shape[1] as number
  if (!measure) {
    const starts = Int32Array.from({ length: samples }, (_, i) => i * rows)
    const shift = Tensor.from({ data: starts, shape: [samples, 1] }).to(index.device)
    const places = reshape(add(labels, shift), [-1])
    return reshape(addRows(kept, places, samples * rows), [samples, rows, width])
  }
  // A row that a sample takes several times: its first place gets the sum, the others nothing.
  return inChunks(samples, steps * (steps + width), (begin, end) => {
    const part = slice(labels, 0, begin, end)
    const same = cast(eq(unsqueeze(part, 2), unsqueeze(part, 1)), g.dtype)
    const sums = matmul(same, slice(each, 0, begin, end))
    const first = eq(sum(tril(same, -1), 2, true), 0)
    const once = where(first, measured(sums, measure), 0)
    return addRows(reshape(once, [-1, width]), reshape(part, [-1]), rows)
  })
}

/** Zeros to whose rows those of `g` are added. */
const addRows = (g: Tensor, places: Tensor, rows: number): Tensor =>
  indexAdd(filled([rows, g.shape[1] as number], 0, g), 0, places, g)
