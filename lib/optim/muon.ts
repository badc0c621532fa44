/** Muon and NorMuon: orthogonalized momentum. */

import { begin, number, views } from '../engine/call.js'
import { checkChoice, checkNumber } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { native } from '../engine/native.js'
import { type Coefficients, scheduleOf } from '../linalg/coefficients.js'
import { computeCode, writeSteps } from '../linalg/orthogonalize.js'
import { type Shape, shownShape, sizeOf } from '../tensor/shape.js'
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
  shaped,
} from './optimizer.js'

/** How the learning rate depends on a matrix's shape. */
export type AdjustLr = 'original' | 'match-rms-adamw' | 'spectral' | 'none'

/** Options of Muon. */
export interface MuonOptions extends CommonOptions {
  /** 0.95 by default. */
  momentum: number
  /** True by default. */
  nesterov: boolean
  /** Decoupled: p ← p(1 − lr·λ). 0.1 by default, as in PyTorch. */
  weightDecay: number
  /** Newton–Schulz steps; 5 by default. */
  steps: number
  /** 'muon' by default. */
  coefficients: Coefficients
  /** Precision of the orthogonalization; 'bfloat16' by default. */
  compute: 'float32' | 'bfloat16'
  /**
   * Shape factor of the learning rate: 'original' (default) √max(1, rows/cols), 'match-rms-adamw'
   * 0.2·√max(rows, cols) (Moonshot), 'spectral' √(rows/cols), 'none' 1.
   */
  adjustLr: AdjustLr
  /**
   * Weight of the gradient in the momentum: 'ema' (default) m ← βm + (1 − β)g as in PyTorch,
   * 'sum' m ← βm + g. The update is orthogonalized, so that only Nesterov's blend differs.
   */
  momentumForm: 'ema' | 'sum'
  /** Added to the norm of the update scaled to a largest entry of 1; 1e-7 by default. */
  eps: number
  /** Decays only where parameter and update agree in sign; false by default. */
  cautiousWeightDecay: boolean
  /**
   * How many of the leading axes count stacked matrices, each orthogonalized by itself; 0 by default:
   * a kernel [out, in, kh, kw] is one matrix out × (in·kh·kw).
   */
  batchAxes: number
}

/** Options of NorMuon. */
export interface NorMuonOptions extends MuonOptions {
  /** Decay of the rows' second moment; 0.95 by default. */
  beta2: number
  /** Added to the root of the rows' second moment; 1e-10 by default, as in the authors' code. */
  normEps: number
}

/** A parameter as [batch, rows, cols]. */
function asMatrices(shape: Shape, batchAxes: number): [number, number, number] {
  return [
    sizeOf(shape.slice(0, batchAxes)),
    shape[batchAxes] as number,
    sizeOf(shape.slice(batchAxes + 1)),
  ]
}

/** The factor that 'adjustLr' stands for. */
export function lrFactor(adjust: AdjustLr, rows: number, cols: number): number {
  switch (adjust) {
    case 'original':
      return Math.sqrt(Math.max(1, rows / cols))
    case 'match-rms-adamw':
      return 0.2 * Math.sqrt(Math.max(rows, cols))
    case 'spectral':
      return Math.sqrt(rows / cols)
    case 'none':
      return 1
  }
}

const muonDefaults: MuonOptions = {
  lr: 1e-3,
  momentum: 0.95,
  nesterov: true,
  weightDecay: 0.1,
  steps: 5,
  coefficients: 'muon',
  compute: 'bfloat16',
  adjustLr: 'original',
  momentumForm: 'ema',
  eps: 1e-7,
  cautiousWeightDecay: false,
  batchAxes: 0,
}

/** What Muon and NorMuon share. */
abstract class OrthogonalizedMomentum<Options extends MuonOptions> extends Optimizer<Options> {
  protected checkOptions(o: LiveGroup<Options>): void {
    checkLr(o)
    checkNumber(o.momentum, 'momentum', 0, 1 - Number.EPSILON / 2)
    checkNumber(o.weightDecay, 'weightDecay', 0, Number.MAX_VALUE)
    checkNumber(o.eps, 'eps', 0, 1)
    checkChoice(o.adjustLr, 'adjustLr', ['original', 'match-rms-adamw', 'spectral', 'none'])
    checkChoice(o.momentumForm, 'momentumForm', ['ema', 'sum'])
    checkNumber(o.batchAxes, 'batchAxes', 0, 6)
    computeCode(o.compute)
    scheduleOf(o.coefficients, o.steps)
  }

  protected override checkParameter(shape: Shape, name: string): void {
    if (shape.length < 2) {
      throw new ShapeError(
        `'${name}' has shape ${shownShape(shape)}; ${this.constructor.name} is for matrices and kernels: give vectors to AdamW (see muonGroups)`,
      )
    }
  }

  /** One number a row where rows are normalised, else nothing. */
  protected abstract rowBuffer(slot: Slot, options: LiveGroup<Options>): Record<string, number>
  protected abstract rowOptions(options: LiveGroup<Options>): [beta2: number, eps: number]

  protected buffersOf(slot: Slot, options: LiveGroup<Options>): Record<string, number> {
    return { momentum: lengthOf(slot), ...this.rowBuffer(slot, options) }
  }

  protected prepare(
    slots: readonly Slot[],
    grads: readonly Tensor[],
    o: LiveGroup<Options>,
    gradScale: number,
  ) {
    const shapes = slots.map((slot) =>
      asMatrices(slot.shape, Math.min(o.batchAxes, slot.shape.length - 2)),
    )
    const buffers = (name: string) =>
      slots.flatMap((slot) => (slot.buffers[name] ? [slot.buffers[name] as Float32Array] : []))
    const schedule = scheduleOf(o.coefficients, o.steps)
    const [beta2, rowEps] = this.rowOptions(o)
    begin()
    const matrices = (list: readonly Tensor[]) => {
      views(list.map((x, i) => shaped(x, shapes[i] as Shape)))
      return list.map((x) => x.array)
    }
    const lists = [
      matrices(slots.map((slot) => slot.flat)),
      matrices(grads),
      arrays(buffers('momentum')),
      arrays(buffers('secondMoment')),
    ]
    number(o.lr * o.weightDecay)
    number(o.momentum)
    number(o.momentumForm === 'ema' ? 1 - o.momentum : 1)
    number(o.nesterov)
    for (const value of [beta2, rowEps, gradScale]) number(value)
    number(o.cautiousWeightDecay)
    for (const value of [computeCode(o.compute), o.eps, schedule.normFactor]) number(value)
    writeSteps(schedule)
    for (const [, rows, cols] of shapes) number(o.lr * lrFactor(o.adjustLr, rows, cols))
    return { sync: () => native.muon(...lists), async: () => native.muonAsync(...lists) }
  }
}

/**
 * Muon (Keller Jordan 2024; PyTorch's torch.optim.Muon): momentum m ← lerp(m, g, 1 − β), Nesterov's
 * u = lerp(g, m, β), O = Newton–Schulz(u), p ← p(1 − lr·λ) − lr·s·O with the shape factor s of
 * `adjustLr`. For hidden matrices and convolution kernels; default learning rate 1e-3.
 *
 * Unlike PyTorch, the update is scaled before its norm is taken, so that tiny gradients are
 * orthogonalized like any other.
 */
export class Muon extends OrthogonalizedMomentum<MuonOptions> {
  protected readonly kind = 'Muon'

  constructor(
    params: readonly Parameter[] | readonly ParamGroup<MuonOptions>[],
    options: Partial<MuonOptions> & { nonFinite?: NonFinite } = {},
  ) {
    const { nonFinite, ...rest } = options
    super(params, { ...muonDefaults, ...rest }, nonFinite)
  }

  protected rowBuffer(): Record<string, number> {
    return {}
  }

  protected rowOptions(): [number, number] {
    return [0, 0]
  }
}

/**
 * NorMuon (arXiv 2510.05491): Muon's update with each row (output neuron) divided by the root of its
 * running mean square, v ← β₂v + (1 − β₂)·mean(O²), then brought back to the norm of O. State beyond
 * Muon's: one number a row.
 *
 * The paper's scale 0.2·√(rows·cols)/‖Ô‖ is `adjustLr: 'match-rms-adamw'` up to the spread of O's
 * singular values; the authors' code is the default 'original'.
 */
export class NorMuon extends OrthogonalizedMomentum<NorMuonOptions> {
  protected readonly kind = 'NorMuon'

  constructor(
    params: readonly Parameter[] | readonly ParamGroup<NorMuonOptions>[],
    options: Partial<NorMuonOptions> & { nonFinite?: NonFinite } = {},
  ) {
    const { nonFinite, ...rest } = options
    super(params, { ...muonDefaults, beta2: 0.95, normEps: 1e-10, ...rest }, nonFinite)
  }

  protected override checkOptions(options: LiveGroup<NorMuonOptions>): void {
    super.checkOptions(options)
    checkNumber(options.beta2, 'beta2', 0, 1 - Number.EPSILON / 2)
    checkNumber(options.normEps, 'normEps', 0, 1)
  }

  protected rowBuffer(slot: Slot, options: LiveGroup<NorMuonOptions>): Record<string, number> {
    const [batch, rows] = asMatrices(slot.shape, Math.min(options.batchAxes, slot.shape.length - 2))
    return { secondMoment: batch * rows }
  }

  protected rowOptions(options: LiveGroup<NorMuonOptions>): [number, number] {
    return [options.beta2, options.normEps]
  }
}
