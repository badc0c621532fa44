/** Modules: a tree of named parameters and buffers with a forward function. */

import { cast, copyInto } from '../autograd/ops/memory.js'
import { noGrad } from '../autograd/tape.js'
import { checkFunction, checkOptions, wrong } from '../engine/check.js'
import { ArgumentError, ShapeError } from '../engine/errors.js'
import { type DType, dtypeCodes, isFloating } from '../tensor/dtype.js'
import { type ArrayLike, checkFloating, checkTensor, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import {
  type BackwardHook,
  type BackwardPreHook,
  type ForwardHook,
  type ForwardPreHook,
  Hooks,
} from './hooks.js'

export type { BackwardHook, BackwardPreHook, ForwardHook, ForwardPreHook } from './hooks.js'

const parameters = new WeakSet<Tensor>()
const buffers = new WeakSet<Tensor>()

/** Marks a tensor as a parameter: it requires a gradient and outlives scopes. */
export function parameter(x: Tensor): Tensor {
  checkFloating(checkTensor(x, 'x'), 'x')
  parameters.add(x.requireGrad().keep())
  return x
}

/** Marks a tensor as a buffer: saved with the module, not trained. */
export function buffer(x: Tensor): Tensor {
  buffers.add(checkTensor(x, 'x'))
  return x.keep()
}

/**
 * Base class of layers and networks. Tensors in its properties that `parameter()` marked or that
 * require a gradient are its parameters, those made by `buffer()` its buffers, modules (also in arrays) its children; names are
 * the paths of properties, as in PyTorch.
 */
export abstract class Module {
  /** True while training: dropout drops, batch norm uses the batch. */
  training = true
  #hooks: Hooks | null = null

  /** Computes the output; hooks that were registered run with it. */
  abstract forward(x: Tensor, ...rest: never[]): Tensor

  /** Another name of forward(). */
  call(x: Tensor, ...rest: unknown[]): Tensor {
    return this.forward(x, ...(rest as never[]))
  }

  /**
   * The module's hooks. The first one registered puts a forward() with hooks over the module's own, on
   * this object alone: modules without hooks pay nothing, and a subclass may call super.forward().
   */
  #hooked(): Hooks {
    if (this.#hooks) return this.#hooks
    const hooks = new Hooks(this)
    const inner = this.forward
    Object.defineProperty(this, 'forward', {
      value: (x: Tensor, ...rest: never[]) =>
        hooks.run(x, (input) => inner.call(this, input, ...rest)),
      configurable: true,
      writable: true,
    })
    this.#hooks = hooks
    return hooks
  }

  /** Calls `hook` before every forward; what it returns replaces the input. Returns its removal. */
  registerForwardPreHook(hook: ForwardPreHook): () => void {
    return this.#hooked().add('forwardPre', hook)
  }

  /** Calls `hook` after every forward; what it returns replaces the output. Returns its removal. */
  registerForwardHook(hook: ForwardHook): () => void {
    return this.#hooked().add('forward', hook)
  }

  /**
   * Calls `hook` with the gradient of the output when backward() reaches it; what it returns replaces
   * that gradient for the module's own computation. Returns its removal.
   */
  registerFullBackwardPreHook(hook: BackwardPreHook): () => void {
    return this.#hooked().add('backwardPre', hook)
  }

  /**
   * Calls `hook` with the gradients of the first input (null where that needs none) and of the output
   * when both are known; what it returns replaces the input's. Returns its removal.
   */
  registerFullBackwardHook(hook: BackwardHook): () => void {
    return this.#hooked().add('backward', hook)
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

  children(): Module[] {
    return [...this.namedChildren()].map(([, module]) => module)
  }

  /** This module and all below. */
  modules(): Module[] {
    return [...this.namedModules()].map(([, module]) => module)
  }

  /**
   * The module at a path as `namedModules` gives it; '' is this one.
   *
   * @throws ArgumentError where there is none
   */
  getModule(path: string): Module {
    for (const [name, module] of this.namedModules()) if (name === path) return module
    return wrong(
      'path',
      `one of ${[...this.namedModules()].map(([name]) => name).join(', ')}`,
      path,
    )
  }

  /** Calls `fn` with every module below, children first, and then with this one. */
  apply(fn: (module: Module) => void): this {
    checkFunction(fn, 'fn')
    for (const child of this.children()) child.apply(fn)
    fn(this)
    return this
  }

  /** Lets all parameters here and below be trained, or freezes them. */
  requireGrad(required = true): this {
    for (const x of this.parameters()) x.requireGrad(required)
    return this
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
  loadStateDict(
    state: Readonly<Record<string, ArrayLike>>,
    options: { strict?: boolean } = {},
  ): void {
    const { strict = true } = checkOptions(options)
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

  /**
   * Moves parameters and buffers to a dtype (floating ones alone change it) or a device, in place: the
   * tensors stay the same objects with new memory, so that shared parameters stay shared. Make optimizers
   * afterwards: one made before holds the old memory. Gradients are dropped where dtype or device
   * change. All are converted before the first is replaced.
   */
  to(target: DType | (string & {})): this {
    const dtype = target in dtypeCodes ? (target as DType) : null
    if (dtype && !isFloating(dtype)) {
      wrong('target', "a floating dtype ('float32', 'float64', 'bfloat16') or a device", target)
    }
    const moved = new Map<Tensor, Tensor>()
    noGrad(() => {
      for (const [, x] of this.#tensors()) {
        if (dtype ? isFloating(x.dtype) : true) {
          const y = dtype ? cast(x, dtype) : x.to(target)
          if (y !== x) moved.set(x, y)
        }
      }
    })
    for (const [x, y] of moved) x.become(y)
    return this
  }
}
