/** CoSO: continuous subspace optimization. */

import { checkInteger, checkNumber, checkOptions, wrong } from '../../engine/check.js'
import { svd } from '../../linalg/index.js'
import { FrequentDirections } from '../../subspace/frequent-directions.js'
import { countForEnergy, extendBasis, withoutSpan } from '../../subspace/protected.js'
import { noGrad, scope, type Tensor, zeros } from '../../tensor/index.js'
import type { Context } from '../context.js'
import { ownHead, protectedLinears } from '../linears.js'
import type { StateValue } from '../state.js'
import type { Strategy } from '../strategy.js'

/** Options of CoSO. */
export interface CoSOOptions {
  /** Width r of the working subspace; 16 by default. */
  rank?: number
  /** Steps between two choices of the working subspace; 10 by default. */
  every?: number
  /** Rows ℓ of the Frequent Directions sketch; 64 by default. */
  sketch?: number
  /** Fraction of the sketch's energy that joins the protected basis after a task; 0.99 by default. */
  threshold?: number
  betas?: readonly [number, number]
  eps?: number
}

/** What one weight has. */
interface Layer {
  /** [in, k], orthonormal: directions of earlier tasks. */
  history: Tensor | null
  /** [in, r], orthonormal: where this task moves. */
  working: Tensor | null
  /** Adam's moments [r, out]. */
  m: Tensor | null
  v: Tensor | null
  sketch: FrequentDirections | null
}

/**
 * CoSO ("Continuous Subspace Optimization for Continual Learning", arXiv 2505.11816). A Linear weight's
 * gradient G [in, out] loses its part in the historical basis H: G ← G − H·HᵀG. Every `every` steps
 * the leading r left singular vectors of that become the working subspace P; Adam works on PᵀG and the
 * step is P times its answer. A Frequent Directions sketch gathers what the task's projected gradients
 * span; after the task its leading directions extend H.
 *
 * Here the left side is the side of the layer's inputs, as for GPM: an update orthogonal to the
 * directions of earlier inputs leaves earlier outputs alone. The learning rate is that of the trainer's
 * optimizer, which moves no Linear weight while this strategy runs, and stops moving the other
 * parameters after the first task. Where tasks have heads of their own the last
 * layer is the optimizer's.
 */
export class CoSO implements Strategy {
  readonly name = 'coso'
  readonly options: Required<CoSOOptions>
  readonly layers = new Map<string, Layer>()
  #steps = 0
  #next: [weight: Tensor, next: Tensor][] = []

  constructor(options: CoSOOptions = {}) {
    const {
      rank = 16,
      every = 10,
      sketch = 64,
      threshold = 0.99,
      betas = [0.9, 0.999],
      eps = 1e-8,
    } = checkOptions(options)
    if (!Array.isArray(betas) || betas.length !== 2) wrong('betas', 'a pair of numbers', betas)
    this.options = {
      rank: checkInteger(rank, 'rank', 1),
      every: checkInteger(every, 'every', 1),
      sketch: checkInteger(sketch, 'sketch', 1),
      threshold: checkNumber(threshold, 'threshold', 0, 1),
      betas: [checkNumber(betas[0], 'betas', 0, 1), checkNumber(betas[1], 'betas', 0, 1)],
      eps: checkNumber(eps, 'eps', 0),
    }
  }

  #layer(name: string): Layer {
    let layer = this.layers.get(name)
    if (!layer) {
      layer = { history: null, working: null, m: null, v: null, sketch: null }
      this.layers.set(name, layer)
    }
    return layer
  }

  beforeExperience(): void {
    this.#steps = 0
    for (const layer of this.layers.values()) {
      for (const x of [layer.working, layer.m, layer.v, layer.sketch]) x?.dispose()
      Object.assign(layer, { working: null, m: null, v: null, sketch: null })
    }
  }

  afterBackward(c: Context): void {
    this.#steps++
    const lr = c.optimizers[0]?.paramGroups[0]?.lr ?? 0
    const mine = new Set<Tensor>()
    for (const [name, { weight }] of protectedLinears(c)) {
      mine.add(weight)
      if (weight.grad === null) continue
      const { grad } = weight
      const next = noGrad(() => scope(() => this.#step(this.#layer(name), weight, grad, lr)))
      this.#next.push([weight, next])
      grad.zero_()
    }
    if (c.position.experience === 0) return
    const heads = ownHead(c)
    for (const x of c.parameters) if (!mine.has(x) && !heads.has(x)) x.grad?.zero_()
  }

  /** Whatever the optimizer did to Linear weights (decay, momentum) gives way. */
  afterStep(): void {
    for (const [weight, next] of this.#next) weight.copy_(next)
    this.#next = []
  }

  #step(layer: Layer, weight: Tensor, grad: Tensor, lr: number): Tensor {
    const { rank, every, sketch: size, betas, eps } = this.options
    const [width, out] = [weight.shape[1] as number, weight.shape[0] as number]
    const g = withoutSpan(grad.T, layer.history)
    layer.sketch ??= new FrequentDirections(width, Math.min(size, width))
    if (layer.working === null || (this.#steps - 1) % every === 0) {
      const { u, s } = svd(g)
      const k = Math.min(rank, s.size)
      // Directions of H come in by rounding alone where G has fewer of its own.
      const next = withoutSpan(u.slice(1, 0, k), layer.history)
        .clone()
        .keep()
      layer.working?.dispose()
      layer.working = next
      layer.m ??= zeros([k, out]).keep()
      layer.v ??= zeros([k, out]).keep()
      // What the task's gradients span, weighted: the rows s_i·u_iᵀ hold all of G·Gᵀ.
      layer.sketch.append(u.mul(s).T)
    }
    const low = layer.working.T.matmul(g)
    const [m, v] = [layer.m as Tensor, layer.v as Tensor]
    m.copy_(m.mul(betas[0]).add(low.mul(1 - betas[0])))
    v.copy_(v.mul(betas[1]).add(low.square().mul(1 - betas[1])))
    const first = m.div(1 - betas[0] ** this.#steps)
    const second = v.div(1 - betas[1] ** this.#steps)
    const update = withoutSpan(
      layer.working.matmul(first.div(second.sqrt().add(eps))),
      layer.history,
    )
    return weight.detach().sub(update.T.mul(lr))
  }

  afterExperience(): void {
    for (const layer of this.layers.values()) {
      if (!layer.sketch) continue
      const { sketch, history } = layer
      scope(() => {
        const rows = sketch.sketch()
        const values = Array.from(svd(rows).s.data)
        const total = values.reduce((sum, x) => sum + x * x, 0)
        if (countForEnergy(values, this.options.threshold, total) === 0) return
        const next = extendBasis(history, rows.T, this.options.threshold)
        if (next === null) return
        layer.history = next.keep()
        history?.dispose()
      })
    }
  }

  state(): StateValue {
    const saved: Record<string, StateValue> = {}
    for (const [name, { history, working, m, v, sketch }] of this.layers) {
      const parts: Record<string, StateValue> = {}
      for (const [key, x] of Object.entries({ history, working, m, v })) if (x) parts[key] = x
      if (sketch) {
        parts['sketch'] = sketch.state()
        parts['size'] = [sketch.dimension, sketch.size]
      }
      saved[name] = parts
    }
    return { steps: this.#steps, layers: saved }
  }

  loadState(state: StateValue): void {
    const { steps, layers } = state as {
      steps: number
      layers: Record<string, Record<string, Tensor> & { size?: [number, number] }>
    }
    this.#steps = steps
    this.layers.clear()
    for (const [name, parts] of Object.entries(layers)) {
      const take = (key: string) => parts[key]?.keep() ?? null
      let sketch: FrequentDirections | null = null
      if (parts.size) {
        sketch = new FrequentDirections(...parts.size)
        sketch.loadState(parts['sketch'] as Tensor)
      }
      this.layers.set(name, {
        history: take('history'),
        working: take('working'),
        m: take('m'),
        v: take('v'),
        sketch,
      })
    }
  }
}
