/** Lion: sign of an interpolated momentum. */

import { begin, number } from '../engine/call.js'
import { checkNumber } from '../engine/check.js'
import { native } from '../engine/native.js'
import type { Tensor } from '../tensor/tensor.js'
import {
  arrays,
  type CommonOptions,
  checkBetas,
  checkLr,
  type LiveGroup,
  lengthOf,
  type NonFinite,
  Optimizer,
  type Parameter,
  type ParamGroup,
  type Slot,
  tensors,
} from './optimizer.js'

/** Options of Lion. */
export interface LionOptions extends CommonOptions {
  /** [0.9, 0.99] by default. */
  betas: [number, number]
  /** Decoupled; 0 by default. */
  weightDecay: number
}

/**
 * Lion (Chen et al., arXiv 2302.06675): p ← p(1 − lr·λ) − lr·sign(β₁m + (1 − β₁)g), then
 * m ← β₂m + (1 − β₂)g. Default learning rate 1e-4. State: one number a parameter.
 */
export class Lion extends Optimizer<LionOptions> {
  protected readonly kind = 'Lion'

  constructor(
    params: readonly Parameter[] | readonly ParamGroup<LionOptions>[],
    options: Partial<LionOptions> & { nonFinite?: NonFinite } = {},
  ) {
    const { nonFinite, ...rest } = options
    super(params, { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0, ...rest }, nonFinite)
  }

  protected checkOptions(options: LiveGroup<LionOptions>): void {
    checkLr(options)
    checkBetas(options.betas)
    checkNumber(options.weightDecay, 'weightDecay', 0, Number.MAX_VALUE)
  }

  protected buffersOf(slot: Slot): Record<string, number> {
    return { m: lengthOf(slot) }
  }

  protected prepare(
    slots: readonly Slot[],
    grads: readonly Tensor[],
    o: LiveGroup<LionOptions>,
    gradScale: number,
  ) {
    begin()
    const lists = [
      tensors(slots.map((slot) => slot.flat)),
      tensors(grads),
      arrays(slots.map((slot) => slot.buffers['m'] as Float32Array)),
    ]
    for (const value of [o.lr, ...o.betas, o.weightDecay, gradScale]) number(value)
    return { sync: () => native.lion(...lists), async: () => native.lionAsync(...lists) }
  }
}
