/**
 * What an update rule is. One file a rule describes it and registers it by name; the Optimizer class
 * drives any mixture of them, a group each.
 */

import { checkNumber, wrong } from '../engine/check.js'
import type { ArrayLike } from '../tensor/interop.js'
import { type Shape, sizeOf } from '../tensor/shape.js'

/** A parameter: a tensor, or bare float32 memory with a shape, which is updated in place. */
export type Parameter = ArrayLike

/** Precision in which an optimizer keeps its state. */
export type StateDtype = 'float32' | 'bfloat16'

/** Options that every update rule has. */
export interface CommonOptions {
  /** Learning rate. */
  lr: number
  /** The norm that the group's gradients together are scaled down to; none by default. */
  maxGradNorm?: number | undefined
  /**
   * Precision of the state that has a parameter's size; 'float32' by default. 'bfloat16' halves its
   * memory and is rounded stochastically, so that slow averages do not stand still. Parameters and
   * arithmetic stay float32. Fixed once the first step was taken.
   */
  stateDtype?: StateDtype
}

/** Options by the name of their update rule; each rule's file adds its line. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface AlgorithmOptions {}

/** The names of the update rules. */
export type AlgorithmName = keyof AlgorithmOptions & string

/** Parameters with options of their own. */
export type ParamGroup<Options> = { params: Parameter[] } & Partial<Options>

/** A group that names another update rule than its optimizer's own, with that rule's options. */
export type OtherGroup = {
  [Name in AlgorithmName]: { algorithm: Name } & ParamGroup<AlgorithmOptions[Name]>
}[AlgorithmName]

/** A group as `paramGroups` shows it: its options may be changed between steps. */
export type LiveGroup<Options> = {
  params: Parameter[]
  readonly algorithm: AlgorithmName
} & Options

/** Memory of a state buffer; bfloat16 is kept as its 16 bits. */
export type StateArray = Float32Array | Uint16Array

/** A state buffer: its number of elements, and its precision where that is not `stateDtype`. */
export interface BufferSpec {
  length: number
  dtype?: 'float32'
  /** Fills the new buffer; zeros where missing. */
  fill?: (array: Float32Array) => void
}

/** A parameter in a step. */
export interface Member {
  shape: Shape
  /** Steps that it will have taken, from 1. */
  step: number
}

/** An update rule. */
export interface Algorithm<Options extends CommonOptions> {
  readonly name: AlgorithmName
  /** Its place in kAlgorithms of native/addon/optim.cpp. */
  readonly code: number
  readonly defaults: Options
  /** Whether parameters may have masks: every buffer then has the length of its mask's count. */
  readonly maskable?: boolean
  /** Throws ArgumentError where an option is out of its range. */
  check(options: Options): void
  /** Throws where the rule cannot handle a shape. */
  checkShape?(shape: Shape, name: string, options: Options): void
  /** The buffers that it keeps for a parameter, in the order of native/addon/optim.cpp. */
  buffers(shape: Shape, options: Options): Record<string, BufferSpec>
  /** Writes options and what it needs of each parameter to the argument block. */
  write(options: Options, members: readonly Member[]): void
}

const algorithms = new Map<string, Algorithm<CommonOptions>>()

/** Makes an update rule known by its name. */
export function register<Options extends CommonOptions>(
  algorithm: Algorithm<Options>,
): Algorithm<Options> {
  algorithms.set(algorithm.name, algorithm as unknown as Algorithm<CommonOptions>)
  return algorithm
}

/** An update rule by name. */
export function algorithmOf(name: unknown): Algorithm<CommonOptions> {
  const found = algorithms.get(name as string)
  if (!found) wrong('algorithm', [...algorithms.keys()].map((k) => `'${k}'`).join(' or '), name)
  return found as Algorithm<CommonOptions>
}

/** A buffer of the parameter's size. */
export const full = (shape: Shape): BufferSpec => ({ length: sizeOf(shape) })

/** A number from 0 up. */
export const checkPositive = (value: unknown, name: string): number =>
  checkNumber(value, name, 0, Number.MAX_VALUE)

/** A number in [0, 1). */
export const checkDecay = (value: unknown, name: string): number =>
  checkNumber(value, name, 0, 1 - Number.EPSILON / 2)

/** A pair in [0, 1). */
export function checkBetas(betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2) {
    wrong('betas', 'a pair of numbers in [0, 1)', betas)
  }
  for (const beta of betas as number[]) checkDecay(beta, 'betas')
}
