/** Walks the tape backwards. */

import { checkOptions } from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { checkTensor, checkTensors } from '../tensor/interop.js'
import { scope, scopeWith } from '../tensor/scope.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import type { Tensor } from '../tensor/tensor.js'
import * as ops from './ops/index.js'
import { withRecording, withSpendable } from './tape.js'

/** Options of backward() and grad(). */
export interface BackwardOptions {
  /** Keeps the tape for another backward(); true where `createGraph` is. */
  retainGraph?: boolean
  /** Records the gradients' own computation, for gradients of gradients. */
  createGraph?: boolean
}

/** Everything that the outputs were computed from, newest first, up to `ends`; leaves are not listed. */
export function ancestors(
  outputs: readonly Tensor[],
  ends: ReadonlySet<Tensor> | null = null,
): Tensor[] {
  const seen = new Set<Tensor>(ends)
  const pending = outputs.filter((output) => output.node)
  const found: Tensor[] = []
  for (;;) {
    const tensor = pending.pop()
    if (!tensor) break
    if (seen.has(tensor)) continue
    seen.add(tensor)
    found.push(tensor)
    for (const input of tensor.node?.inputs ?? []) if (input?.node) pending.push(input)
  }
  return found.sort((a, b) => (b.node?.order ?? 0) - (a.node?.order ?? 0))
}

function withHooks(tensor: Tensor, grad: Tensor): Tensor {
  for (const hook of tensor.hooks ?? []) grad = hook(grad) ?? grad
  return grad
}

/**
 * Sends gradients from the outputs to `reach`, which is called once for every leaf or wanted tensor.
 *
 * @param ends tensors beyond which nothing is sent (checkpoint.ts)
 */
export function propagate(
  outputs: readonly Tensor[],
  seeds: readonly Tensor[],
  options: BackwardOptions,
  wanted: ReadonlySet<Tensor> | null,
  reach: (tensor: Tensor, grad: Tensor) => void,
  ends: ReadonlySet<Tensor> | null = null,
): void {
  const retain = options.retainGraph ?? options.createGraph ?? false
  const grads = new Map<Tensor, Tensor>()
  // Gradients that only this pass knows, and how many tensors wait for each: memory goes back as soon as
  // the last has used it, so that the next gradient is written where the caches still hold it. Under
  // createGraph the tape may need all of them.
  const holders = new Map<Tensor, number>()
  const spent = (grad: Tensor) => {
    const left = (holders.get(grad) ?? 0) - 1
    if (left > 0) holders.set(grad, left)
    else if (holders.delete(grad) && !grad.kept) grad.dispose()
  }
  const give = (tensor: Tensor, grad: Tensor) => {
    const sum = grads.get(tensor)
    if (!sum) {
      grads.set(tensor, grad)
      return
    }
    if (holders.get(sum) === 1 && ops.ownsMemory(sum) && sum.dtype === grad.dtype) {
      ops.addInto(sum, grad)
      spent(grad)
      return
    }
    const total = ops.add(sum, grad)
    grads.set(tensor, total)
    if (options.createGraph) return
    holders.set(total, 1)
    spent(sum)
    spent(grad)
  }
  outputs.forEach((output, i) => {
    give(output, seeds[i] as Tensor)
  })
  const order = ancestors(outputs, ends)
  for (const tensor of order) {
    if (tensor.node && !tensor.node.rule) {
      throw new ArgumentError(
        'this graph was freed by an earlier backward(): pass { retainGraph: true } to that',
      )
    }
  }
  for (const tensor of order) {
    const node = tensor.node
    let grad = grads.get(tensor)
    if (!node?.rule || !grad) continue
    grads.delete(tensor)
    if (tensor.hooks) {
      holders.delete(grad)
      grad = withHooks(tensor, grad)
    }
    if (wanted?.has(tensor)) {
      holders.delete(grad)
      reach(tensor, grad)
    }
    const { rule, inputs } = node
    const given = grad
    let results: (Tensor | null)[]
    if (options.createGraph) {
      results = rule(given)
    } else {
      const made: Tensor[] = []
      const own = holders.get(given) === 1 ? given : null
      results = scopeWith(() => withSpendable(own, () => rule(given)), made)
      for (const result of made) holders.set(result, 0)
      for (let i = 0; i < results.length; i++) {
        const held = inputs[i] && results[i] ? holders.get(results[i] as Tensor) : undefined
        if (held !== undefined) holders.set(results[i] as Tensor, held + 1)
      }
    }
    for (let i = 0; i < results.length; i++) {
      const input = inputs[i]
      const result = results[i]
      if (input && result) give(input, result)
    }
    if (!options.createGraph) spent(given)
    if (retain) continue
    const used = !options.createGraph
    node.free(used)
    if (used && tensor.holder === 'tape') tensor.letGo()
  }
  for (const [tensor, grad] of grads) {
    if (tensor.node && !ends?.has(tensor)) continue
    if (wanted ? wanted.has(tensor) : tensor.requiresGrad) reach(tensor, withHooks(tensor, grad))
  }
}

function seedOf(output: Tensor, gradient: Tensor | undefined): Tensor {
  if (!gradient) {
    if (output.size !== 1) {
      throw new ShapeError(
        `backward() of a tensor of shape ${shownShape(output.shape)} needs the gradient of its elements: only a scalar's is 1`,
      )
    }
    return ops.fullLike(output, 1)
  }
  if (!sameShape(gradient.shape, output.shape)) {
    throw new ShapeError(
      `'gradient' has shape ${shownShape(gradient.shape)}, expected ${shownShape(output.shape)}`,
    )
  }
  return gradient
}

/** See Tensor.backward. */
export function backward(
  output: Tensor,
  gradient: Tensor | undefined,
  options: BackwardOptions,
): void {
  if (!output.requiresGrad) {
    throw new ArgumentError(
      'backward() of a tensor that was computed from nothing that requires a gradient',
    )
  }
  const run = () =>
    withRecording(options.createGraph ?? false, () => {
      propagate([output], [seedOf(output, gradient)], options, null, (leaf, grad) => {
        if (leaf.grad) {
          if (options.createGraph) leaf.grad = ops.add(leaf.grad, grad)
          else ops.addInto(leaf.grad, grad)
        } else {
          // A gradient may be shared with other leaves, or be a view: each leaf gets its own memory.
          leaf.grad = options.createGraph || ops.ownsMemory(grad) ? grad : ops.copy(grad)
        }
      })
    })
  // Gradients of intermediate tensors are nobody's after this.
  if (options.createGraph) run()
  else scope(run)
}

/**
 * d(output)/d(input) for every input, without touching any `grad`.
 *
 * @param output a scalar, or any tensor together with `gradOutput`.
 * @param inputs leaves or intermediate tensors.
 * @returns one tensor an input; zeros where the output does not depend on it.
 */
export function grad(
  output: Tensor,
  inputs: readonly Tensor[],
  given: BackwardOptions & { gradOutput?: Tensor } = {},
): Tensor[] {
  const { gradOutput, ...options } = checkOptions(given)
  checkTensor(output, 'output')
  checkTensors(inputs, 'inputs')
  const found = new Map<Tensor, Tensor>()
  const run = () =>
    withRecording(options.createGraph ?? false, () => {
      if (output.requiresGrad) {
        propagate([output], [seedOf(output, gradOutput)], options, new Set(inputs), (tensor, g) => {
          found.set(tensor, g)
        })
      }
      return inputs.map((input) => {
        const result = found.get(input)
        if (!result) return ops.fullLike(input, 0)
        return options.createGraph ? result : ops.copy(result)
      })
    })
  return options.createGraph ? run() : scope(run)
}
