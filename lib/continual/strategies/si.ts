/** Synaptic intelligence: importance is the share that a parameter's way had in lowering the loss. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import { binaryInto } from '../../tensor/elementwise.js'
import { noGrad, scope, type Tensor, zerosLike } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { QuadraticPenalty } from '../penalty.js'
import type { StateValue } from '../state.js'
import type { Strategy } from '../strategy.js'

/** Options of Si. */
export interface SiOptions {
  /** c in c Σ Ω (θ − θ*)²; 0.1 by default. */
  c?: number
  /** ξ, which bounds Ω where a parameter hardly moved; 0.1 by default. */
  xi?: number
}

/** ω, and the parameters when the task began. */
interface Path {
  omega: Tensor[]
  start: Tensor[]
}

/**
 * SI (Zenke et al., arXiv 1703.04200): over a task ω accumulates −g·Δθ of every step, g the gradient
 * before this penalty is added; at its end Ω += ω / ((θ_end − θ_start)² + ξ), and c Σ Ω (θ − θ*)² holds
 * the parameters.
 */
export class Si implements Strategy {
  readonly name = 'si'
  readonly options: Required<SiOptions>
  readonly penalty = new QuadraticPenalty()
  #path: Path | null = null
  /** The parameters before the current step, and the gradients without this penalty. */
  #step: { before: Tensor; grad: Tensor | null }[] = []

  constructor(options: SiOptions = {}) {
    const { c = 0.1, xi = 0.1 } = checkOptions(options)
    this.options = { c: checkNumber(c, 'c', 0), xi: checkNumber(xi, 'xi', 1e-12) }
  }

  beforeExperience({ parameters }: Context): void {
    this.#path ??= {
      omega: parameters.map((x) => zerosLike(x).keep()),
      start: parameters.map((x) => zerosLike(x).keep()),
    }
    for (const omega of this.#path.omega) omega.zero_()
    this.#path.start.forEach((start, i) => {
      start.copy_(parameters[i] as Tensor)
    })
  }

  afterBackward({ parameters }: Context): void {
    const copy = (x: Tensor) => x.detach().clone()
    this.#step = parameters.map((x) => ({ before: copy(x), grad: x.grad && copy(x.grad) }))
    this.penalty.addGradient(parameters, 2 * this.options.c)
  }

  afterStep({ parameters }: Context): void {
    noGrad(() => {
      this.#step.forEach(({ before, grad }, i) => {
        if (!grad) return
        // before ← (before − after)·g = −g·Δθ
        const omega = this.#path?.omega[i] as Tensor
        binaryInto('sub', before, parameters[i] as Tensor, before)
        binaryInto('mul', before, grad, before)
        binaryInto('add', omega, before, omega)
      })
    })
    this.#step = []
  }

  afterExperience({ parameters }: Context): void {
    scope(() =>
      noGrad(() => {
        const added = parameters.map((x, i) => {
          const { omega, start } = this.#path as Path
          const way = x.sub(start[i] as Tensor).square()
          return (omega[i] as Tensor).div(way.add(this.options.xi))
        })
        this.penalty.renew(parameters, added, 1)
      }),
    )
  }

  state(): StateValue {
    return { penalty: this.penalty.state(), path: this.#path && { ...this.#path } }
  }

  loadState(state: StateValue): void {
    const saved = state as { penalty: StateValue; path: Path | null }
    this.penalty.loadState(saved.penalty)
    this.#path = saved.path && {
      omega: saved.path.omega.map((x) => x.keep()),
      start: saved.path.start.map((x) => x.keep()),
    }
  }
}
