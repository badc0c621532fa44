/** Which parameters go to the Muon family and which to AdamW. */

import { wrong } from '../engine/check.js'
import { Module } from '../nn/module.js'
import { toTensor } from '../tensor/interop.js'
import type { Parameter, ParamGroup } from './optimizer.js'

/** Parameters with names: pairs, or an object. */
export type NamedParameters =
  | readonly (readonly [string, Parameter])[]
  | Readonly<Record<string, Parameter>>

/** The two groups that muonGroups makes. */
export interface MuonGroups<Hidden, Rest> {
  /** For Muon or NorMuon. */
  hidden: ParamGroup<Hidden>
  /** For AdamW. */
  rest: ParamGroup<Rest>
}

const notHidden = /(^|[._])(embed\w*|wte|wpe|lm_head|head|classifier|unembed\w*)([._]|$)/i

/**
 * Splits parameters by the rule that Muon's authors give: hidden matrices and convolution kernels
 * (two axes or more) are orthogonalized; vectors (biases, norms), embeddings and the output layer are
 * not. Embeddings and heads are known by name (embed…, wte, wpe, head, lm_head, classifier, unembed…)
 * and the head also by being the last matrix in order. `isHidden` overrides the rule.
 *
 * @param parameters a module, or named parameters in the order of the network
 * @param options of each group
 */
export function muonGroups<Hidden extends object, Rest extends object>(
  parameters: Module | NamedParameters,
  {
    hidden = {} as Partial<Hidden>,
    rest = {} as Partial<Rest>,
    isHidden,
  }: {
    hidden?: Partial<Hidden>
    rest?: Partial<Rest>
    isHidden?: (name: string, shape: readonly number[]) => boolean
  } = {},
): MuonGroups<Hidden, Rest> {
  if (typeof parameters !== 'object' || parameters === null) {
    wrong('parameters', 'a module or named parameters', parameters)
  }
  const named: [string, Parameter][] =
    parameters instanceof Module
      ? parameters.namedParameters()
      : Array.isArray(parameters)
        ? [...parameters]
        : Object.entries(parameters)
  const shapes = named.map(([name, p]) => toTensor(p, name).shape)
  const last = shapes.findLastIndex((shape) => shape.length >= 2)
  const rule =
    isHidden ??
    ((name: string, shape: readonly number[], i: number) =>
      shape.length >= 2 && i !== last && !notHidden.test(name))
  const chosen = named.map(([name], i) => rule(name, shapes[i] as readonly number[], i))
  const pick = (wanted: boolean) => named.filter((_, i) => chosen[i] === wanted).map(([, p]) => p)
  return {
    hidden: { ...hidden, params: pick(true) },
    rest: { ...rest, params: pick(false) },
  }
}
