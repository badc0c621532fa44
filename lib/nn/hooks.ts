/** Hooks of modules, with PyTorch's meanings: before and after forward, before and after backward. */

import { isRecording, record, tracked } from '../autograd/tape.js'
import { wrong } from '../engine/check.js'
import { Tensor } from '../tensor/tensor.js'
import type { Module } from './module.js'
import { shown } from './passing.js'

/** Called with the first input before forward; what it returns takes the input's place. */
export type ForwardPreHook = (module: Module, input: Tensor) => Tensor | undefined

/** Called with the first input and the output after forward; what it returns replaces the output. */
export type ForwardHook = (module: Module, input: Tensor, output: Tensor) => Tensor | undefined

/** Called with the gradient of the output before the module's backward; what it returns replaces it. */
export type BackwardPreHook = (module: Module, gradOutput: Tensor) => Tensor | undefined

/** Called with the gradients of the first input and of the output; what it returns replaces the first. */
export type BackwardHook = (
  module: Module,
  gradInput: Tensor | null,
  gradOutput: Tensor,
) => Tensor | undefined

interface Kinds {
  forwardPre: ForwardPreHook
  forward: ForwardHook
  backwardPre: BackwardPreHook
  backward: BackwardHook
}

/** The hooks of one module, in the order in which they were registered. */
export class Hooks {
  readonly #module: Module
  readonly #sets = {
    forwardPre: new Set<ForwardPreHook>(),
    forward: new Set<ForwardHook>(),
    backwardPre: new Set<BackwardPreHook>(),
    backward: new Set<BackwardHook>(),
  }

  constructor(module: Module) {
    this.#module = module
  }

  /** Adds a hook; returns its removal. */
  add<K extends keyof Kinds>(kind: K, hook: Kinds[K]): () => void {
    if (typeof hook !== 'function') wrong('hook', 'a function', hook)
    const set = this.#sets[kind] as unknown as Set<Kinds[K]>
    set.add(hook)
    return () => void set.delete(hook)
  }

  /** forward() with hooks. */
  run(x: Tensor, forward: (input: Tensor) => Tensor): Tensor {
    const { forwardPre, forward: after, backwardPre, backward } = this.#sets
    let input = x
    shown(x)
    for (const hook of forwardPre) input = hook(this.#module, input) ?? input
    shown(input)
    const y =
      backwardPre.size + backward.size > 0 && input instanceof Tensor
        ? this.#between(input, forward)
        : forward(input)
    shown(y)
    let output = y
    for (const hook of after) output = hook(this.#module, input, output) ?? output
    shown(output)
    return output
  }

  /** forward() between two identities, whose gradient rules call the backward hooks. */
  #between(x: Tensor, forward: (input: Tensor) => Tensor): Tensor {
    // Seen again when the input's gradient is known: kept, for the pass gives its own back before.
    let gradOutput: Tensor | null = null
    const finish = (gradInput: Tensor | null): Tensor | null => {
      let result = gradInput
      for (const hook of this.#sets.backward) {
        result = hook(this.#module, result, gradOutput as Tensor) ?? result
      }
      if (gradOutput?.kept) gradOutput.dispose()
      gradOutput = null
      return result
    }
    const y = forward(tracked(x) ? record(x.detach(), [x], (g) => [finish(g)]) : x)
    if (!tracked(y)) return y
    return record(y.detach(), [y], (g) => {
      let grad = g
      for (const hook of this.#sets.backwardPre) grad = hook(this.#module, grad) ?? grad
      gradOutput = isRecording() ? grad : grad.detach().keep()
      if (!x.requiresGrad) finish(null)
      return [grad]
    })
  }
}
