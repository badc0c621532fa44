/** Adam with decoupled weight decay. */

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

/** Options of AdamW, with PyTorch's meanings and defaults. */
export interface AdamWOptions extends CommonOptions {
  /** [0.9, 0.999] by default. */
  betas: [number, number]
  /** 1e-8 by default. */
  eps: number
  /** 0.01 by default; p ← p(1 − lr·λ) before the step. */
  weightDecay: number
  /** Divides by the largest second moment so far. */
  amsgrad: boolean
  maximize: boolean
  /** False makes the decay an L2 penalty in the gradient: Adam. */
  decoupled: boolean
}

/**
 * AdamW (Loshchilov & Hutter 2019) as in PyTorch. Default learning rate 1e-3. State: two numbers a
 * parameter.
 */
export class AdamW extends Optimizer<AdamWOptions> {
  protected readonly kind = 'AdamW'

  constructor(
    params: readonly Parameter[] | readonly ParamGroup<AdamWOptions>[],
    options: Partial<AdamWOptions> & { nonFinite?: NonFinite } = {},
  ) {
    const { nonFinite, ...rest } = options
    const defaults: AdamWOptions = {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0.01,
      amsgrad: false,
      maximize: false,
      decoupled: true,
    }
    super(params, { ...defaults, ...rest }, nonFinite)
  }

  protected checkOptions(options: LiveGroup<AdamWOptions>): void {
    checkLr(options)
    checkBetas(options.betas)
    checkNumber(options.eps, 'eps', 0, Number.MAX_VALUE)
    checkNumber(options.weightDecay, 'weightDecay', 0, Number.MAX_VALUE)
  }

  protected buffersOf(slot: Slot, options: LiveGroup<AdamWOptions>): Record<string, number> {
    const n = lengthOf(slot)
    return options.amsgrad ? { m: n, v: n, vMax: n } : { m: n, v: n }
  }

  protected prepare(
    slots: readonly Slot[],
    grads: readonly Tensor[],
    o: LiveGroup<AdamWOptions>,
    gradScale: number,
  ) {
    const buffers = (name: string) => slots.map((slot) => slot.buffers[name] as Float32Array)
    begin()
    const lists = [
      tensors(slots.map((slot) => slot.flat)),
      tensors(grads),
      arrays(buffers('m')),
      arrays(buffers('v')),
      arrays(o.amsgrad ? buffers('vMax') : []),
    ]
    const step = (slots[0] as Slot).step + 1
    for (const value of [o.lr, ...o.betas, o.eps, o.weightDecay, gradScale, step]) number(value)
    for (const flag of [o.decoupled, o.maximize]) number(flag)
    return { sync: () => native.adamw(...lists), async: () => native.adamwAsync(...lists) }
  }
}
