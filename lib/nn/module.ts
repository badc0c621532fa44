/** Modules: a tree of named parameters and buffers with a forward function. */

import { copyInto } from '../autograd/ops/memory.js'
import { wrong } from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { type DType, isFloating } from '../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

const parameters = new WeakSet<Tensor>()
const buffers = new WeakSet<Tensor>()

/** Marks a tensor as a parameter: it requires a gradient and outlives scopes. */
export function parameter(x: Tensor): Tensor {
  parameters.add(x.requireGrad().keep())
  return x
}

/** Marks a tensor as a buffer: saved with the module, not trained. */
export function buffer(x: Tensor): Tensor {
  buffers.add(x)
  return x.keep()
}

/** What a forward hook is called with. */
export type ForwardHook = (module: Module, input: Tensor, output: Tensor) => Tensor | undefined

/**
 * Base class of layers and networks. Tensors in its properties that `parameter()` marked or that
 * require a gradient are its parameters, those made by `buffer()` its buffers, modules (also in arrays) its children; names are
 * the paths of properties, as in PyTorch.
 */
export abstract class Module {
  /** True while training: dropout drops, batch norm uses the batch. */
  training = true
  #hooks = new Set<ForwardHook>()

  /** Computes the output; people call `call()`, which runs hooks too. */
  abstract forward(x: Tensor, ...rest: never[]): Tensor

  /** forward() with hooks. */
  call(x: Tensor, ...rest: unknown[]): Tensor {
    let y = this.forward(x, ...(rest as never[]))
    for (const hook of this.#hooks) y = hook(this, x, y) ?? y
    return y
  }

  /** Calls `hook` after every forward; what it returns replaces the output. Returns its removal. */
  registerForwardHook(hook: ForwardHook): () => void {
    this.#hooks.add(hook)
    return () => void this.#hooks.delete(hook)
  }

  /** Children by property name; entries of arrays as `name.0`, `name.1` …. */
  *namedChildren(): IterableIterator<[string, Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module) yield [name, value]
      if (Array.isArray(value)) {
        for (const [i, entry] of value.entries())
          if (entry instanceof Module) yield [`${name}.${i}`, entry]
      }
    }
  }

  /** This module and all below, by path. */
  *namedModules(prefix = ''): IterableIterator<[string, Module]> {
    yield [prefix, this]
    for (const [name, child] of this.namedChildren()) {
      yield* child.namedModules(prefix ? `${prefix}.${name}` : name)
    }
  }

  *#tensors(): IterableIterator<[string, Tensor]> {
    for (const [path, module] of this.namedModules()) {
      for (const [name, value] of Object.entries(module)) {
        if (value instanceof Tensor) yield [path ? `${path}.${name}` : name, value]
      }
    }
  }

  /** Parameters by path, frozen ones too. A tensor that two modules share is listed once. */
  namedParameters(): [string, Tensor][] {
    const seen = new Set<Tensor>()
    return [...this.#tensors()].filter(([, x]) => {
      if (buffers.has(x) || !(x.requiresGrad || parameters.has(x)) || seen.has(x)) return false
      seen.add(x)
      return true
    })
  }

  parameters(): Tensor[] {
    return this.namedParameters().map(([, x]) => x)
  }

  namedBuffers(): [string, Tensor][] {
    return [...this.#tensors()].filter(([, x]) => buffers.has(x))
  }

  /** Parameters and buffers by path, sharing their memory. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries([...this.namedParameters(), ...this.namedBuffers()])
  }

  /** Copies saved values into parameters and buffers; names and shapes are all checked first. */
  loadStateDict(state: Readonly<Record<string, ArrayLike>>, { strict = true } = {}): void {
    if (typeof state !== 'object' || state === null) wrong('state', 'an object of tensors', state)
    const own = this.stateDict()
    const missing = Object.keys(own).filter((name) => !(name in state))
    const unexpected = Object.keys(state).filter((name) => !(name in own))
    if (strict && missing.length + unexpected.length > 0) {
      throw new ArgumentError(
        `the state does not fit the module: missing [${missing.join(', ')}], unexpected [${unexpected.join(', ')}]`,
      )
    }
    const pairs: [Tensor, Tensor][] = []
    for (const [name, x] of Object.entries(own)) {
      if (!(name in state)) continue
      const saved = toTensor(state[name], name)
      if (!sameShape(saved.shape, x.shape)) {
        throw new ShapeError(
          `'${name}' has shape ${shownShape(saved.shape)}, expected ${shownShape(x.shape)}`,
        )
      }
      // Reading the storage finds disposed tensors before anything is written.
      if (saved.storage && x.storage) pairs.push([x, saved])
    }
    for (const [x, saved] of pairs) copyInto(x, saved)
  }

  /**
   * Casts the floating parameters and buffers, here and below, to a dtype, or moves them to a device.
   * They become new tensors: make optimizers afterwards.
   */
  to(target: DType | (string & {})): this {
    const moved = new Map<Tensor, Tensor>()
    for (const [, module] of this.namedModules()) {
      for (const [name, x] of Object.entries(module)) {
        if (!(x instanceof Tensor) || !isFloating(x.dtype)) continue
        const isBuffer = buffers.has(x)
        if (!isBuffer && !(x.requiresGrad || parameters.has(x))) continue
        const y = moved.get(x) ?? x.detach().to(target)
        if (y.dtype === x.dtype) continue
        if (!moved.has(x)) {
          moved.set(x, y)
          if (isBuffer) buffer(y)
          else parameter(y).requireGrad(x.requiresGrad)
        }
        Object.assign(module, { [name]: y })
      }
    }
    return this
  }

  /** Sets training mode here and below. */
  train(on = true): this {
    for (const [, module] of this.namedModules()) module.training = on
    return this
  }

  eval(): this {
    return this.train(false)
  }

  /** Sets every parameter's gradient to null. */
  zeroGrad(): void {
    for (const x of this.parameters()) x.grad = null
  }
}
