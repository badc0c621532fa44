/** Stochastic gradient descent with momentum. */

import { begin, number } from '../engine/call.js'
import { checkNumber, wrong } from '../engine/check.js'
import { native } from '../engine/native.js'
import type { Tensor } from '../tensor/tensor.js'
import {
  arrays,
  type CommonOptions,
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

/** Options of SGD, with PyTorch's meanings and defaults. */
export interface SgdOptions extends CommonOptions {
  /** 0 by default. */
  momentum: number
  /** 0 by default. */
  dampening: number
  /** L2 penalty, added to the gradient; 0 by default. */
  weightDecay: number
  nesterov: boolean
  /** Ascends instead. */
  maximize: boolean
}

/**
 * SGD as in PyTorch: b ← μb + (1 − τ)g (b = g at first), p ← p − lr·b; with Nesterov g + μb.
 * Default learning rate 1e-3.
 */
export class SGD extends Optimizer<SgdOptions> {
  protected readonly kind = 'SGD'

  constructor(
    params: readonly Parameter[] | readonly ParamGroup<SgdOptions>[],
    options: Partial<SgdOptions> & { nonFinite?: NonFinite } = {},
  ) {
    const { nonFinite, ...rest } = options
    const defaults = {
      lr: 1e-3,
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      maximize: false,
    }
    super(params, { ...defaults, ...rest }, nonFinite)
  }

  protected checkOptions(options: LiveGroup<SgdOptions>): void {
    checkLr(options)
    checkNumber(options.momentum, 'momentum', 0, Number.MAX_VALUE)
    checkNumber(options.dampening, 'dampening')
    checkNumber(options.weightDecay, 'weightDecay', 0, Number.MAX_VALUE)
    if (options.nesterov && (options.momentum === 0 || options.dampening !== 0)) {
      wrong('nesterov', 'momentum above 0 and dampening 0', options.nesterov)
    }
  }

  protected buffersOf(slot: Slot, options: LiveGroup<SgdOptions>): Record<string, number> {
    return options.momentum === 0 ? {} : { momentum: lengthOf(slot) }
  }

  protected prepare(
    slots: readonly Slot[],
    grads: readonly Tensor[],
    o: LiveGroup<SgdOptions>,
    gradScale: number,
  ) {
    begin()
    const lists = [
      tensors(slots.map((slot) => slot.flat)),
      tensors(grads),
      arrays(o.momentum === 0 ? [] : slots.map((slot) => slot.buffers['momentum'] as Float32Array)),
    ]
    const first = (slots[0] as Slot).step === 0
    for (const value of [o.lr, o.momentum, o.dampening, o.weightDecay, gradScale]) number(value)
    for (const flag of [o.nesterov, o.maximize, first]) number(flag)
    return { sync: () => native.sgd(...lists), async: () => native.sgdAsync(...lists) }
  }
}
