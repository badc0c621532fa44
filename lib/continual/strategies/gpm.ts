/** Gradient projection memory: updates keep out of the span of what earlier tasks' layers were fed. */

import { checkInteger, checkNumber, checkOptions } from '../../engine/check.js'
import { extendBasis, withoutSpan } from '../../subspace/protected.js'
import { noGrad, scope, type Tensor } from '../../tensor/index.js'
import { batchOf } from '../batch.js'
import type { Context } from '../context.js'
import { ownHead, protectedLinears } from '../linears.js'
import { chosen } from '../memory.js'
import type { StateValue } from '../state.js'
import type { Strategy } from '../strategy.js'

/** Options of Gpm. */
export interface GpmOptions {
  /** Fraction of the inputs' energy that is protected after the first task; 0.95 by default. */
  threshold?: number
  /** What is added to it with every further task; 0.003 by default. */
  increment?: number
  /** Examples looked at after a task; 300 by default, all where there are fewer. */
  samples?: number
}

/**
 * GPM (Saha, Garg & Roy, arXiv 2103.09762): after a task the inputs R [in, samples] of every Linear
 * layer extend its basis B by leading singular vectors until `threshold` of ‖R‖² is held; gradients of
 * its weight [out, in] become G − (G·B)·Bᵀ. The update that the optimizer makes of them is projected as
 * well, so that momentum and adaptive steps stay outside too.
 *
 * Parameters that are no Linear weights (biases, convolutions) stop learning after the first task: the
 * paper's networks have no biases. Where tasks have heads of their own, so does the last layer here, and
 * it is not protected.
 */
export class Gpm implements Strategy {
  readonly name = 'gpm'
  readonly options: Required<GpmOptions>
  /** Bases by the weight's path. */
  readonly bases = new Map<string, Tensor>()
  #before: Tensor[] = []

  constructor(options: GpmOptions = {}) {
    const { threshold = 0.95, increment = 0.003, samples = 300 } = checkOptions(options)
    this.options = {
      threshold: checkNumber(threshold, 'threshold', 0, 1),
      increment: checkNumber(increment, 'increment', 0, 1),
      samples: checkInteger(samples, 'samples', 1),
    }
  }

  afterBackward(c: Context): void {
    if (this.bases.size === 0) return
    const free = ownHead(c)
    for (const [i, x] of c.parameters.entries()) {
      if (free.has(x) || x.grad === null) continue
      this.#confine(c.names[i] as string, x.grad)
    }
    this.#before = c.parameters.map((x) => x.detach().clone())
  }

  afterStep(c: Context): void {
    if (this.bases.size === 0) return
    const free = ownHead(c)
    scope(() =>
      noGrad(() => {
        for (const [i, x] of c.parameters.entries()) {
          if (free.has(x)) continue
          const before = this.#before[i] as Tensor
          const change = x.detach().sub(before)
          this.#confine(c.names[i] as string, change)
          x.copy_(before.add(change))
        }
      }),
    )
    for (const x of this.#before) x.dispose()
    this.#before = []
  }

  /** What of a gradient or change may stay, in place. */
  #confine(name: string, x: Tensor): void {
    const basis = this.bases.get(name)
    noGrad(() => scope(() => (basis ? x.copy_(withoutSpan(x.T, basis).T) : x.copy_(x.mul(0)))))
  }

  afterExperience(c: Context): void {
    const layers = protectedLinears(c)
    const inputs = new Map<string, Tensor>()
    const removals = layers.map(([path, layer]) =>
      layer.registerForwardPreHook((_, x) => {
        inputs.set(
          path,
          x
            .detach()
            .reshape(-1, x.shape.at(-1) as number)
            .clone()
            .keep(),
        )
        return undefined
      }),
    )
    const { training } = c.model
    try {
      c.model.eval()
      const total = c.trainData.labels.length
      const count = Math.min(total, this.options.samples)
      const rows = Int32Array.from(chosen(total, count, c.generator))
      noGrad(() => scope(() => c.forward(batchOf(c.trainData, rows, c.position.experience).inputs)))
    } finally {
      for (const remove of removals) remove()
      c.model.train(training)
    }
    const { threshold, increment } = this.options
    const wanted = Math.min(1, threshold + increment * c.position.experience)
    for (const [path, x] of inputs) {
      const old = this.bases.get(path) ?? null
      const basis = extendBasis(old, x.T, wanted)
      x.dispose()
      if (basis === null) continue
      this.bases.set(path, basis.keep())
      old?.dispose()
    }
  }

  state(): StateValue {
    return Object.fromEntries(this.bases)
  }

  loadState(state: StateValue): void {
    this.bases.clear()
    for (const [path, basis] of Object.entries(state as Record<string, Tensor>)) {
      this.bases.set(path, basis.keep())
    }
  }
}
