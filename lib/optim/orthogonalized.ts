/** Orthogonalized momentum: the options and the native call that Muon and NorMuon share. */

import { number } from '../engine/call.js'
import { checkChoice, checkInteger, checkNumber, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { type Coefficients, scheduleOf } from '../linalg/coefficients.js'
import {
  computeCode,
  type Normalization,
  normalizationCode,
  writeSteps,
} from '../linalg/orthogonalize.js'
import { type Shape, shownShape, sizeOf } from '../tensor/shape.js'
import {
  type Algorithm,
  type AlgorithmName,
  type BufferSpec,
  type CommonOptions,
  checkDecay,
  checkPositive,
  full,
  type Member,
} from './algorithm.js'

const adjustments = ['original', 'match-rms-adamw', 'spectral', 'none'] as const
/** How the learning rate depends on a matrix's shape. */
export type AdjustLr = (typeof adjustments)[number]

/** How a parameter is read as matrices. */
export interface LayoutOptions {
  /**
   * How many of the leading axes count stacked matrices, each orthogonalized by itself; 0 by default:
   * a kernel [out, in, kh, kw] is one matrix out × (in·kh·kw).
   */
  batchAxes: number
  /**
   * Where output neurons are counted: 'first' (default) for [out, …in] as in PyTorch and
   * palimpsest/nn, 'last' for [in…, out] as in tfjs, jax and Keras.
   */
  outputAxis: 'first' | 'last'
}

/** Options of Muon, which its variants have too. */
export interface MuonOptions extends CommonOptions, LayoutOptions {
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
  /**
   * What brings singular values below 1, as in `orthogonalize`; 'frobenius' by default. 'aol' with `steps`
   * of 4 is Turbo-Muon.
   */
  normalization: Normalization
  /** Precision of the orthogonalization; 'bfloat16' by default. */
  compute: 'float32' | 'bfloat16'
  /**
   * Shape factor of the learning rate: 'original' (default, Keller Jordan) √max(1, rows/cols),
   * 'match-rms-adamw' 0.2·√max(rows, cols) (Moonshot), 'spectral' √(rows/cols), 'none' 1. Rows are
   * output neurons, columns inputs.
   */
  adjustLr: AdjustLr
  /**
   * Weight of the gradient in the momentum: 'ema' (default) m ← βm + (1 − β)g as in PyTorch,
   * 'sum' m ← βm + g (Keller Jordan's first form). What is orthogonalized is (1 − β)g + βm, or
   * g + βm: a common factor, which orthogonalization removes, is all that differs.
   */
  momentumForm: 'ema' | 'sum'
  /** Added to the norm of the update scaled to a largest entry of 1; 1e-7 by default. */
  eps: number
  /** Decays only where parameter and update agree in sign; false by default. */
  cautiousWeightDecay: boolean
  /**
   * Row blocks of a fused matrix (queries, keys, values), each treated as a parameter of its own;
   * none by default. Must sum to the rows of every matrix of the group.
   */
  splitSizes?: number[] | undefined
}

/** A parameter's matrices: how many, and their layout in memory. */
export interface Matrices {
  batch: number
  rows: number
  cols: number
  /** Output neurons and inputs of one matrix. */
  neurons: number
  inputs: number
}

/** How a parameter's shape is read. */
export function matricesOf(shape: Shape, { batchAxes, outputAxis }: LayoutOptions): Matrices {
  const from = Math.min(batchAxes, shape.length - 2)
  const own = shape.slice(from)
  const last = outputAxis === 'last'
  const cut = last ? own.length - 1 : 1
  const rows = sizeOf(own.slice(0, cut))
  const cols = sizeOf(own.slice(cut))
  const batch = sizeOf(shape.slice(0, from))
  return { batch, rows, cols, neurons: last ? cols : rows, inputs: last ? rows : cols }
}

/** Refuses vectors. */
export function checkMatrix(shape: Shape, name: string, algorithm: string): void {
  if (shape.length >= 2) return
  throw new ShapeError(
    `'${name}' has shape ${shownShape(shape)}; ${algorithm} is for matrices and kernels: give vectors to AdamW (see muonGroups)`,
  )
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

export const muonDefaults: MuonOptions = {
  lr: 1e-3,
  momentum: 0.95,
  nesterov: true,
  weightDecay: 0.1,
  steps: 5,
  coefficients: 'muon',
  normalization: 'frobenius',
  compute: 'bfloat16',
  adjustLr: 'original',
  momentumForm: 'ema',
  eps: 1e-7,
  cautiousWeightDecay: false,
  batchAxes: 0,
  outputAxis: 'first',
  splitSizes: undefined,
  stateDtype: 'float32',
}

/** What an orthogonalizing rule adds to Muon. */
interface Variant<Options> {
  name: AlgorithmName
  defaults: Options
  check(options: Options): void
  /** Decay and epsilon of the neurons' second moment; null where there is none. */
  normalised(options: Options): [beta2: number, eps: number] | null
  /** The factor of lr and the norm of a block's update (0: as orthogonalized). */
  scale(options: Options, neurons: number, inputs: number): [factor: number, norm: number]
}

/** An update rule of Muon's kind. */
export function orthogonalizing<Options extends MuonOptions>(
  variant: Variant<Options>,
): Algorithm<Options> {
  return {
    name: variant.name,
    code: 3,
    defaults: variant.defaults,
    check(o) {
      checkDecay(o.momentum, 'momentum')
      checkPositive(o.weightDecay, 'weightDecay')
      checkNumber(o.eps, 'eps', 0, 1)
      checkChoice(o.adjustLr, 'adjustLr', adjustments)
      checkChoice(o.momentumForm, 'momentumForm', ['ema', 'sum'])
      checkChoice(o.outputAxis, 'outputAxis', ['first', 'last'])
      checkInteger(o.batchAxes, 'batchAxes', 0, 6)
      if (o.splitSizes !== undefined) {
        if (!Array.isArray(o.splitSizes)) wrong('splitSizes', 'a list of row counts', o.splitSizes)
        for (const size of o.splitSizes) checkInteger(size, 'splitSizes', 1)
        if (o.outputAxis === 'last') wrong('splitSizes', "outputAxis 'first'", o.outputAxis)
      }
      computeCode(o.compute)
      normalizationCode(o.normalization)
      scheduleOf(o.coefficients, o.steps)
      variant.check(o)
    },
    checkShape(shape, name, o) {
      checkMatrix(shape, name, variant.name)
      const { rows } = matricesOf(shape, o)
      if (o.splitSizes && o.splitSizes.reduce((a, b) => a + b, 0) !== rows) {
        throw new ShapeError(
          `'${name}' has shape ${shownShape(shape)}, whose ${rows} rows are not the sum of splitSizes [${o.splitSizes.join(', ')}]`,
        )
      }
    },
    buffers(shape, o): Record<string, BufferSpec> {
      const momentum = full(shape)
      if (variant.normalised(o) === null) return { momentum }
      const { batch, neurons } = matricesOf(shape, o)
      return { momentum, secondMoment: { length: batch * neurons, dtype: 'float32' } }
    },
    write(o, members: readonly Member[]) {
      const schedule = scheduleOf(o.coefficients, o.steps)
      const normalised = variant.normalised(o)
      number(o.lr * o.weightDecay)
      number(o.momentum)
      number(o.momentumForm === 'ema' ? 1 - o.momentum : 1)
      number(o.nesterov)
      number(normalised !== null)
      for (const value of normalised ?? [0, 0]) number(value)
      number(o.cautiousWeightDecay)
      number(o.outputAxis === 'last')
      for (const value of [computeCode(o.compute), o.eps, schedule.normFactor]) number(value)
      number(normalizationCode(o.normalization))
      writeSteps(schedule)
      for (const { shape, step } of members) {
        const { batch, rows, cols, neurons, inputs } = matricesOf(shape, o)
        for (const value of [step, batch, rows, cols]) number(value)
        const splits = o.splitSizes ?? []
        number(splits.length)
        for (const size of splits) number(size)
        for (const size of splits.length > 0 ? splits : [neurons]) {
          const [factor, norm] = variant.scale(o, size, inputs)
          number(o.lr * factor)
          number(norm)
        }
      }
    },
  }
}
