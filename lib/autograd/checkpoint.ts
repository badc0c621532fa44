/** Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): memory for computing twice. */

import { checkFunction, checkInstance, wrong } from '../engine/check.js'
import { defaultGenerator, Generator } from '../random/index.js'
import { checkTensors } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { Tensor } from '../tensor/tensor.js'
import { propagate } from './backward.js'
import { isRecording, now, record, tracked, withRecording } from './tape.js'

/** A view that the tape tells from the tensor itself; recorded where gradients shall pass. */
function alias(x: Tensor, through: boolean): Tensor {
  const y = x.detach()
  if (through && tracked(x)) return record(y, [x], (g) => [g])
  return x.requiresGrad ? y.requireGrad() : y
}

/** Tensors made before `fn` that its result was computed from, beside its arguments: parameters mostly. */
function outsiders(result: Tensor, inputs: readonly Tensor[], since: number): Tensor[] {
  const found = new Set<Tensor>()
  const older = (x: Tensor) => (x.node ? x.node.order <= since : true)
  const pending = [result]
  const seen = new Set<Tensor>()
  for (let x = pending.pop(); x; x = pending.pop()) {
    for (const input of x.node?.inputs ?? []) {
      if (!input || seen.has(input) || inputs.includes(input)) continue
      seen.add(input)
      if (older(input)) found.add(input)
      else pending.push(input)
    }
  }
  return [...found]
}

/**
 * fn(...inputs) whose intermediate tensors are not kept: the backward pass computes them again. Parameters
 * and other tensors that `fn` uses get their gradients as usual, and generators stand for the second run
 * where they stood for the first, so that dropout drops the same.
 *
 * @param fn synchronous, from the inputs to one tensor; it must compute the same each time
 * @param inputs tensors
 */
export function checkpoint(fn: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  return checkpointWith([], fn, ...inputs)
}

/** checkpoint() for an `fn` that draws from generators of its own, beside the default one. */
export function checkpointWith(
  generators: readonly Generator[],
  fn: (...inputs: Tensor[]) => Tensor,
  ...inputs: Tensor[]
): Tensor {
  if (!Array.isArray(generators)) wrong('generators', 'a list of generators', generators)
  for (const [i, g] of generators.entries()) checkInstance(g, Generator, `generators[${i}]`)
  checkFunction(fn, 'fn')
  checkTensors(inputs, 'inputs')
  if (!isRecording()) return fn(...inputs)
  const drawn = [...generators, defaultGenerator()]
  const starts = drawn.map((g) => g.position)
  let outside: Tensor[] = []
  const y = scope(() => {
    const arguments_ = inputs.map((x) => alias(x, false))
    const since = now()
    const result = fn(...arguments_)
    if (!(result instanceof Tensor)) wrong('fn', 'a function that returns one tensor', result)
    outside = outsiders(result, arguments_, since)
    // An argument that is returned as it is must not take the caller's tensor with it.
    return result.detach()
  })
  if (![...inputs, ...outside].some((x) => x.requiresGrad)) return y
  return record(y, [...inputs, ...outside], (g) => {
    const again = drawn.map((generator) => generator.position)
    const differentiable = isRecording()
    const at = (positions: readonly number[]) => {
      for (const [i, generator] of drawn.entries()) generator.position = positions[i] as number
    }
    return withRecording(true, () => {
      const arguments_ = inputs.map((x) => alias(x, differentiable))
      const ends = new Set([...arguments_, ...outside])
      at(starts)
      let result: Tensor
      try {
        result = fn(...arguments_)
      } finally {
        at(again)
      }
      const found = new Map<Tensor, Tensor>()
      withRecording(differentiable, () =>
        propagate(
          [result],
          [g],
          { createGraph: differentiable },
          ends,
          (tensor, grad) => found.set(tensor, grad),
          ends,
        ),
      )
      return [...arguments_, ...outside].map((x) => found.get(x) ?? null)
    })
  })
}
