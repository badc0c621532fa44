/** What the methods that hold parameters share: the penalty (λ/2) Σ F (θ − θ*)². */

import { checkNumber, requireOptions, wrong } from '../engine/check.js'
import { binaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, type Tensor, zerosLike } from '../tensor/index.js'
import { checkTensors } from '../tensor/interop.js'
import type { StateValue } from './state.js'
import type { Strategy } from './strategy.js'

/**
 * Weights F and anchors θ*, one of each a parameter. Several terms are one: Σ F_t (θ − θ_t)² has the
 * slope of F (θ − θ*)² with F = Σ F_t and θ* = Σ F_t θ_t / F, so memory does not grow with the tasks.
 */
export class QuadraticPenalty {
  #importance: Tensor[] | null = null
  #anchor: Tensor[] | null = null

  /** Whether there is something to hold on to. */
  get active(): boolean {
    return this.#importance !== null
  }

  /** F; empty before the first task's end. */
  get importance(): readonly Tensor[] {
    return this.#importance ?? []
  }

  /** θ*; empty before the first task's end. */
  get anchor(): readonly Tensor[] {
    return this.#anchor ?? []
  }

  /** F ← decay·F + added, with one anchor at the parameters of now. */
  renew(parameters: readonly Tensor[], added: readonly Tensor[], decay: number): void {
    checkNumber(decay, 'decay', 0, 1)
    this.#change(parameters, added, (f, anchor, plus, x) => {
      if (decay !== 1) binaryInto('mul', f, decay, f)
      binaryInto('add', f, plus, f)
      anchor.copy_(x)
    })
  }

  /** A further term beside those that are there: F ← F + added, θ* moves to the weighted mean. */
  extend(parameters: readonly Tensor[], added: readonly Tensor[]): void {
    this.#change(parameters, added, (f, anchor, plus, x) => {
      binaryInto('add', f, plus, f)
      // Where F is 0 nothing holds the parameter, and its anchor does not count.
      const share = plus.div(f.maximum(1e-38))
      binaryInto('add', anchor, x.sub(anchor).mul(share), anchor)
    })
  }

  #change(
    parameters: readonly Tensor[],
    added: readonly Tensor[],
    update: (f: Tensor, anchor: Tensor, plus: Tensor, x: Tensor) => void,
  ): void {
    checkTensors(parameters, 'parameters')
    if (checkTensors(added, 'added').length !== parameters.length) {
      wrong('added', `${parameters.length} tensors, one a parameter`, added)
    }
    const make = () => parameters.map((x) => zerosLike(x).keep())
    const importance = (this.#importance ??= make())
    const anchor = (this.#anchor ??= make())
    scope(() =>
      noGrad(() => {
        parameters.forEach((x, i) => {
          update(importance[i] as Tensor, anchor[i] as Tensor, added[i] as Tensor, x)
        })
      }),
    )
  }

  /** Adds strength·F·(θ − θ*), the penalty's slope, to every parameter's gradient. */
  addGradient(parameters: readonly Tensor[], strength: number): void {
    checkTensors(parameters, 'parameters')
    checkNumber(strength, 'strength', 0)
    if (!this.active || strength === 0) return
    noGrad(() => {
      parameters.forEach((x, i) => {
        if (!x.grad) return
        const pull = x.sub(this.anchor[i] as Tensor)
        binaryInto('mul', pull, this.importance[i] as Tensor, pull)
        if (strength !== 1) binaryInto('mul', pull, strength, pull)
        binaryInto('add', x.grad, pull, x.grad)
        pull.dispose()
      })
    })
  }

  /** (strength/2) Σ F (θ − θ*)². */
  value(parameters: readonly Tensor[], strength: number): number {
    checkTensors(parameters, 'parameters')
    checkNumber(strength, 'strength', 0)
    if (!this.active) return 0
    const one = (x: Tensor, i: number) =>
      x
        .sub(this.anchor[i] as Tensor)
        .square()
        .mul(this.importance[i] as Tensor)
        .sum()
        .item()
    return scope(() =>
      noGrad(() => parameters.reduce((sum, x, i) => sum + (strength / 2) * one(x, i), 0)),
    )
  }

  state(): StateValue {
    return { importance: this.#importance, anchor: this.#anchor }
  }

  loadState(state: StateValue): void {
    const saved = state as { importance: Tensor[] | null; anchor: Tensor[] | null }
    requireOptions(saved, 'state')
    for (const key of ['importance', 'anchor'] as const) {
      if (saved[key] !== null) checkTensors(saved[key], `state.${key}`)
    }
    this.#importance = saved.importance?.map((x) => x.keep()) ?? null
    this.#anchor = saved.anchor?.map((x) => x.keep()) ?? null
  }
}

/** A strategy that holds parameters by a penalty, and keeps nothing else. */
export abstract class Holding implements Strategy {
  abstract readonly name: string
  readonly penalty = new QuadraticPenalty()

  state(): StateValue {
    return this.penalty.state()
  }

  loadState(state: StateValue): void {
    this.penalty.loadState(state)
  }
}
