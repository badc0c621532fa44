/**
 * Learning rate and weight decay that carry over from a narrow network to a wide one: "Robust layerwise
 * scaling rules by proper weight decay tuning" (Fan, Liu, Zhao, Yuan, Gu, arXiv 2510.15262).
 */

import { checkFunction, checkInteger, checkNumber, checkOptions, wrong } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import type { Module } from '../nn/module.js'
import { Generator } from '../random/generator.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { shownShape, sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import type { AdamWOptions } from './adamw.js'
import type { Parameter, ParamGroup } from './algorithm.js'
import { muonGroups, type NamedParameters, namedParametersOf } from './groups.js'

/** Options of layerwiseWeightDecay. */
export interface LayerwiseOptions {
  /** The width d of this network. */
  width: number
  /** The width d₀ that learning rate and weight decay were tuned at. */
  baseWidth: number
  /** η of all parameters at the base width. */
  lr: number
  /** λ of the matrix-like parameters at the base width. */
  weightDecay: number
  /**
   * The network at the base width: matrix-like is what differs from it in both sides of the matrix.
   * Without it, matrix-like are the hidden matrices by the rule of muonGroups.
   */
  base?: Module | NamedParameters
  /** Decides whether a parameter is matrix-like; undefined leaves it to the rule. */
  isMatrix?: (name: string, shape: readonly number[]) => boolean | undefined
  /** False leaves λ as it was at the base width: plain μP. True by default. */
  scaleWeightDecay?: boolean
}

/** A shape as out × rest. */
const sides = (shape: readonly number[]) => [shape[0] ?? 1, sizeOf(shape.slice(1))]

/**
 * Groups for AdamW that keep the gain of every sublayer as it was at the base width d₀. In the steady
 * state that weight decay leads to, a matrix's top singular value goes as √(η/λ)·d^0.75, so that with
 * μP's η₂ ∝ 1/d the decay must grow as √d:
 *
 * - matrix-like (both sides grow with d): η₂ = lr·d₀/d, λ₂ = weightDecay·√(d/d₀);
 * - vector-like (embeddings, output layer, norms, biases): η₁ = lr, λ₁ = 0.
 *
 * As in μP, the network itself must scale the logits by d₀/d (or 1/d) and draw hidden matrices with a
 * variance of 1/fanIn; `topSingularValues` tells whether the rule worked.
 *
 * @returns `new AdamW(layerwiseWeightDecay(net, options))`: the matrix-like group, then the other
 */
export function layerwiseWeightDecay(
  parameters: Module | NamedParameters,
  options: LayerwiseOptions,
): ParamGroup<AdamWOptions>[] {
  if (typeof options !== 'object' || options === null) wrong('options', 'an object', options)
  const { width, baseWidth, lr, weightDecay, base, isMatrix, scaleWeightDecay = true } = options
  for (const [name, value] of Object.entries({ width, baseWidth })) {
    checkNumber(value, name, Number.MIN_VALUE, Number.MAX_VALUE)
  }
  for (const [name, value] of Object.entries({ lr, weightDecay })) {
    checkNumber(value, name, 0, Number.MAX_VALUE)
  }
  if (isMatrix !== undefined) checkFunction(isMatrix, 'isMatrix')
  const named = namedParametersOf(parameters)
  const hidden = new Set(muonGroups(parameters).hidden.params)
  const small = base && new Map(namedParametersOf(base, 'base'))
  const grows = (name: string, p: Parameter, shape: readonly number[]) => {
    if (!small) return hidden.has(p)
    const other = small.get(name)
    if (!other) return wrong('base', `a network with the parameter '${name}'`, base)
    const [a, b] = [sides(shape), sides(toTensor(other, name).shape)]
    return a[0] !== b[0] && a[1] !== b[1]
  }
  const chosen = named.map(([name, p]) => {
    const { shape } = toTensor(p, name)
    return isMatrix?.(name, shape) ?? grows(name, p, shape)
  })
  const pick = (wanted: boolean) => named.filter((_, i) => chosen[i] === wanted).map(([, p]) => p)
  const ratio = width / baseWidth
  return [
    {
      params: pick(true),
      lr: lr / ratio,
      weightDecay: weightDecay * (scaleWeightDecay ? Math.sqrt(ratio) : 1),
    },
    { params: pick(false), lr, weightDecay: 0 },
  ]
}

/**
 * The largest singular value of a matrix (a kernel is out × rest) by power iteration on WᵀW, to a
 * relative change below `tolerance`.
 *
 * @param x two axes or more
 */
export function topSingularValue(
  x: ArrayLike,
  options: { tolerance?: number; maxIterations?: number } = {},
): number {
  const { tolerance = 1e-6, maxIterations = 1000 } = checkOptions(options)
  checkNumber(tolerance, 'tolerance', 0)
  checkInteger(maxIterations, 'maxIterations', 1)
  const given = toTensor(x, 'x')
  if (given.rank < 2) {
    throw new ShapeError(`'x' has shape ${shownShape(given.shape)}, expected at least two axes`)
  }
  const [rows, cols] = sides(given.shape) as [number, number]
  if (rows * cols === 0) return 0
  return scope(() => {
    const w = given.detach().to('float32').reshape(rows, cols)
    const generator = new Generator(0)
    let v = Float32Array.from({ length: cols }, () => generator.normal())
    let value = 0
    for (let i = 0; i < maxIterations; i++) {
      const next = scope(() => {
        const unit = Tensor.from({ data: v, shape: [cols, 1] })
        return w.transpose(0, 1).matmul(w.matmul(unit)).reshape(cols).data.slice() as Float32Array
      })
      const norm = Math.sqrt(next.reduce((sum, y) => sum + y * y, 0))
      if (norm === 0) return 0
      v = next.map((y) => y / norm)
      const last = value
      // |WᵀW·v| for a unit vector (the first is not one yet).
      value = Math.sqrt(norm)
      if (i > 1 && Math.abs(value - last) <= tolerance * value) break
    }
    return value
  })
}

/**
 * The rule's diagnostic: the largest singular value of each matrix-like parameter, by name. Networks of
 * different widths that were trained by a rule that works have about equal ones.
 */
export function topSingularValues(parameters: Module | NamedParameters): Record<string, number> {
  const hidden = new Set(muonGroups(parameters).hidden.params)
  const named = namedParametersOf(parameters).filter(([, p]) => hidden.has(p))
  return Object.fromEntries(named.map(([name, p]) => [name, topSingularValue(p)]))
}
