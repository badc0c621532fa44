/**
 * Gradients of every sample's own loss, in one backward pass: linear, convolution, norm and embedding
 * layers, the selective scan, and whatever is broadcast over the batch, give them without a forward
 * pass for each sample, from their input and the gradient of their output (Goodfellow 2015,
 * arXiv:1510.01799; Rochette et al. 2019, arXiv:1912.06015).
 */

import { wrong } from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { binaryInto } from '../tensor/elementwise.js'
import { checkTensors } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { ancestors, grad } from './backward.js'
import * as ops from './ops/index.js'
import { finish, NotPerSample } from './ops/samples.js'
import { type Measure, type Node, withRecording } from './tape.js'

/** A module, or anything else with named parameters. */
export interface WithParameters {
  namedParameters(): [string, Tensor][]
}

/** One use of a parameter: its per-sample gradients, or the sum of a measure of them, when asked for. */
type Use = (measure: Measure) => Tensor

/** Runs a node's rule without the gradients that are found another way. */
function rest(node: Node, g: Tensor, skipped: readonly Tensor[]): (Tensor | null)[] {
  for (const tensor of skipped) tensor.requiresGrad = false
  try {
    return node.rule?.(g) ?? []
  } finally {
    for (const tensor of skipped) tensor.requiresGrad = true
  }
}

/** Finds every use of the parameters. */
function collect(losses: Tensor, parameters: ReadonlySet<Tensor>): Map<Tensor, Use[]> {
  const samples = losses.size
  const grads = new Map<Tensor, Tensor>([[losses, ops.fullLike(losses, 1)]])
  /** Of tensors that all samples share but that were computed from parameters: [samples, …]. */
  const shared = new Map<Tensor, Tensor>()
  const uses = new Map<Tensor, Use[]>()
  const add = (map: Map<Tensor, Tensor>, tensor: Tensor, g: Tensor) => {
    const sum = map.get(tensor)
    map.set(tensor, sum ? ops.add(sum, g) : g)
  }
  const use = (tensor: Tensor, found: Use) => {
    const list = uses.get(tensor)
    if (list) list.push(found)
    else uses.set(tensor, [found])
  }
  for (const tensor of ancestors([losses])) {
    const { node } = tensor
    if (!node?.rule) throw new ArgumentError('this graph was freed by an earlier backward()')
    const all = shared.get(tensor)
    if (all) {
      // No samples in here: the rule is taken once for each of them.
      const results = ops.unbind(all).map((g) => node.rule?.(g) ?? [])
      node.inputs.forEach((input, i) => {
        if (!input || !results[0]?.[i]) return
        const grads = ops.stack(results.map((list) => list[i] as Tensor))
        if (input.node) add(shared, input, grads)
        else if (parameters.has(input)) use(input, (measure) => finish(grads, measure))
      })
    }
    const g = grads.get(tensor)
    if (!g) continue
    grads.delete(tensor)
    const skipped: Tensor[] = []
    node.inputs.forEach((input, i) => {
      if (!input || !(input.node || parameters.has(input))) return
      const found = node.samples?.(g, samples, i)
      if (!found) return
      skipped.push(input)
      if (input.node) add(shared, input, found(null))
      else use(input, found)
    })
    const results = rest(node, g, skipped)
    node.inputs.forEach((input, i) => {
      const result = results[i]
      if (!input || !result || skipped.includes(input)) return
      if (input.node) add(grads, input, result)
      else if (parameters.has(input)) {
        throw new NotPerSample(
          `a parameter of shape ${shownShape(input.shape)} is used by an operation with a result of shape ${shownShape(tensor.shape)} that does not know them`,
        )
      }
    })
  }
  return uses
}

/** The parameters to look for, by name. */
function named(source: WithParameters | readonly Tensor[]): [string, Tensor][] {
  if (Array.isArray(source)) return checkTensors(source, 'source').map((x, i) => [`${i}`, x])
  if (typeof (source as WithParameters | null)?.namedParameters !== 'function') {
    wrong('source', 'a module or a list of parameters', source)
  }
  return (source as WithParameters).namedParameters()
}

function each(
  source: WithParameters | readonly Tensor[],
  losses: Tensor,
  measure: Measure,
): Record<string, Tensor> {
  const list = named(source)
  for (const [name, x] of list) {
    if (!(x instanceof Tensor) || x.node) wrong(name, 'a parameter', x)
  }
  if (!(losses instanceof Tensor) || losses.rank !== 1) {
    const given = losses instanceof Tensor ? shownShape(losses.shape) : String(losses)
    throw new ShapeError(`'losses' must hold one loss a sample, [samples], but is ${given}`)
  }
  if (!losses.requiresGrad) {
    throw new ArgumentError("'losses' were computed from nothing that requires a gradient")
  }
  const samples = losses.size
  const wanted = list.filter(([, x]) => x.requiresGrad)
  return withRecording(false, () =>
    scope(() => {
      if (samples === 1) {
        const gradOutput = ops.fullLike(losses, 1)
        const inputs = wanted.map(([, x]) => x)
        const grads = grad(losses, inputs, { gradOutput, retainGraph: true })
        return Object.fromEntries(
          wanted.map(([name], i) => {
            const g = grads[i] as Tensor
            return [name, finish(ops.unsqueeze(g, 0), measure)]
          }),
        )
      }
      const uses = collect(losses, new Set(wanted.map(([, x]) => x)))
      return Object.fromEntries(
        wanted.map(([name, x]) => {
          const list = uses.get(x) ?? []
          if (list.length === 1) return [name, (list[0] as Use)(measure)]
          // A measure of a sum: all uses are needed together.
          const shape = measure && list.length === 0 ? x.shape : [samples, ...x.shape]
          const zeros = ops.filled(shape, 0, x)
          if (list.length === 0) return [name, zeros]
          return [
            name,
            finish(
              list.map((found) => found(null)).reduce((a, b) => ops.add(a, b)),
              measure,
            ),
          ]
        }),
      )
    }),
  )
}

/**
 * The gradient of every sample's own loss for each parameter, [samples, …shape].
 *
 * The samples must lie along the first axis of everything that is computed, and must not be mixed: a
 * batch norm that uses the batch's statistics is refused (call `eval()`). A parameter that goes through
 * other operations before it meets the samples costs a loop over the samples there, and only there. The
 * graph stays for a backward().
 *
 * @param source a module, or parameters
 * @param losses [samples]: `crossEntropy(…, { reduction: 'none' })`, say
 * @returns by parameter name, or position
 */
export const perSampleGrads = (
  source: WithParameters | readonly Tensor[],
  losses: Tensor,
): Record<string, Tensor> => each(source, losses, null)

/**
 * The sum over the samples of the squares of perSampleGrads(), […shape]: the diagonal of the empirical
 * Fisher information times the number of samples. Gradients of single samples are not kept: a linear
 * layer's squares are one product of squares, others are made for some samples at a time.
 */
export const perSampleSquares = (
  source: WithParameters | readonly Tensor[],
  losses: Tensor,
): Record<string, Tensor> => each(source, losses, 'square')

/** At most this many samples share a pass in summed(). */
const passSamples = 128

/** The losses of samples [begin, end), computed anew. */
export type LossesOf = (begin: number, end: number) => Tensor

/** What samplesTogether() found for a model, by what it depends on. */
const found = new WeakMap<object, Map<string, number>>()

/** Found out once for a model and a shape of its inputs, which `key` tells with all else that matters. */
export function samplesTogetherOnce(
  model: object,
  key: string,
  ...args: Parameters<typeof samplesTogether>
): number {
  const [, samples] = args
  if (samples < 2) return 1
  const known = found.get(model) ?? new Map<string, number>()
  found.set(model, known)
  const together = known.get(key) ?? samplesTogether(...args)
  known.set(key, together)
  return together
}

/**
 * How many samples may share a pass over a model: 128, or 1 where a layer has no rule or where the squares
 * of the first two samples are not the sums of each one's own. That is so where something mixes samples or
 * does not keep them along the first axis (time in front, say), which the graph alone does not tell.
 */
export function samplesTogether(
  parameters: readonly Tensor[],
  samples: number,
  losses: LossesOf,
): number {
  if (samples < 2) return 1
  return scope(() => {
    const of = (begin: number, end: number) => perSampleSquares(parameters, losses(begin, end))
    try {
      const both = of(0, 2)
      const [first, second] = [of(0, 1), of(1, 2)]
      const same = parameters.every((x, i) => {
        if (!x.requiresGrad) return true
        const sum = ops.add(first[i] as Tensor, second[i] as Tensor)
        const apart = ops.norm(ops.sub(sum, both[i] as Tensor)).item()
        return apart <= 1e-3 * ops.norm(sum).item()
      })
      return same ? passSamples : 1
    } catch (error) {
      if (error instanceof NotPerSample) return 1
      throw error
    }
  })
}

/**
 * The sum over samples of a measure of their gradients, one tensor a parameter, in order: `together`
 * samples a pass (samplesTogether), so that memory does not grow with their number.
 */
export const summed = (
  measure: 'square' | 'abs',
  parameters: readonly Tensor[],
  samples: number,
  together: number,
  losses: LossesOf,
): Tensor[] =>
  scope(() => {
    let sums: Tensor[] | null = null
    for (let begin = 0; begin < samples; begin += together) {
      const part = scope(() => {
        const end = Math.min(samples, begin + together)
        const some = each(parameters, losses(begin, end), measure)
        // Frozen parameters have none.
        return parameters.map((x, i) => some[i] ?? ops.filled(x.shape, 0, x))
      })
      if (!sums) sums = part
      else for (const [i, sum] of sums.entries()) binaryInto('add', sum, part[i] as Tensor, sum)
    }
    return sums ?? parameters.map((x) => ops.filled(x.shape, 0, x))
  })
