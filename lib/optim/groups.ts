/** Which parameters go to the Muon family and which to AdamW. */

import { checkFunction, checkOptions, wrong } from '../engine/check.js'
import { Module } from '../nn/module.js'
import { toTensor } from '../tensor/interop.js'
import type { AlgorithmName, AlgorithmOptions, Parameter, ParamGroup } from './algorithm.js'

/** Parameters with names: pairs, or an object. */
export type NamedParameters =
  | readonly (readonly [string, Parameter])[]
  | Readonly<Record<string, Parameter>>

/** The two groups that muonGroups makes: an optimizer of the Muon family takes them as they are. */
export interface MuonGroups<Hidden, Rest> {
  /** For Muon, NorMuon or Dion. */
  hidden: ParamGroup<Hidden>
  /** For AdamW, or the `algorithm` that it names. */
  rest: ParamGroup<Rest>
}

/** Options of muonGroups. */
export interface MuonGroupsOptions<Hidden, Rest> {
  /** Options of the group of hidden matrices. */
  hidden?: Partial<Hidden>
  /** Options of the rest; `algorithm` names another update rule than AdamW. */
  rest?: Partial<Rest>
  /** Names (or patterns of names) that are hidden whatever the rule says. */
  toHidden?: readonly (string | RegExp)[]
  /** Names (or patterns of names) that are not. */
  toRest?: readonly (string | RegExp)[]
  /** Decides; undefined leaves it to the lists and the rule. */
  isHidden?: (name: string, shape: readonly number[]) => boolean | undefined
}

type RestOptions = {
  [Name in AlgorithmName]: { algorithm?: Name } & AlgorithmOptions[Name]
}[AlgorithmName]

const notHidden =
  /(^|[._/])(\w*embed\w*|\w*token\w*|positions?|wte|wpe|lm_?head|head|classifier)([._/]|$)/i

/** A part of a numbered block, as in blocks.3.mlp2.weight. */
const inBlock = /(^|[._/])\d+[._/][a-z]\w*[._/]/i

/** A module's parameters with their names, or what was given. */
export function namedParametersOf(
  parameters: Module | NamedParameters,
  argument = 'parameters',
): [string, Parameter][] {
  if (typeof parameters !== 'object' || parameters === null) {
    wrong(argument, 'a module or named parameters', parameters)
  }
  if (parameters instanceof Module) return parameters.namedParameters()
  const entries = Array.isArray(parameters) ? parameters : Object.entries(parameters)
  return entries.map((entry, i) => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string') {
      return wrong(`${argument}[${i}]`, 'a pair [name, tensor]', entry)
    }
    toTensor(entry[1], `${argument}.${entry[0]}`)
    return [entry[0], entry[1]]
  })
}

/** Names of parameters that belong to a module of embeddings. */
function embedded(module: Module): Set<string> {
  const names = new Set<string>()
  for (const [path, child] of module.namedModules()) {
    if (!/embedding/i.test(child.constructor.name)) continue
    for (const [name] of child.namedParameters()) names.add(path ? `${path}.${name}` : name)
  }
  return names
}

function patterns(list: unknown, name: string): (string | RegExp)[] {
  if (list === undefined) return []
  if (!Array.isArray(list)) return wrong(name, 'a list of names and regular expressions', list)
  for (const entry of list) {
    if (typeof entry !== 'string' && !(entry instanceof RegExp)) {
      wrong(name, 'names and regular expressions', entry)
    }
  }
  return list
}

const listed = (name: string, list: readonly (string | RegExp)[]) =>
  list.some((entry) => (typeof entry === 'string' ? entry === name : entry.test(name)))

/**
 * Splits parameters by the rule that Muon's authors give: hidden matrices and convolution kernels
 * (two axes or more) are orthogonalized; the rest is not:
 * 1. vectors and scalars (biases, norms), also as [1, n] and [1, 1, n];
 * 2. embeddings: parameters of a module whose class is called …Embedding…, and names with a part
 *    …embed…, …token…, position(s), wte or wpe;
 * 3. the output layer: names with a part head, lm_head or classifier, and the last matrix in order,
 *    unless it is a part of a numbered block (blocks.3.mlp2.weight): then an embedding gives the output.
 *
 * `isHidden` overrides all of it, then `toRest`, then `toHidden`.
 *
 * @param parameters a module, or named parameters in the order of the network
 * @returns both groups: `new NorMuon(muonGroups(net, { hidden: { lr: 0.02 }, rest: { lr: 3e-4 } }))`
 *   trains the hidden group with NorMuon and the rest with AdamW
 */
export function muonGroups<Hidden extends object, Rest extends object = RestOptions>(
  parameters: Module | NamedParameters,
  options: MuonGroupsOptions<Hidden, Rest> = {},
): MuonGroups<Hidden, Rest> {
  const { isHidden, hidden, rest } = checkOptions(options)
  checkOptions(hidden as object | undefined, 'hidden')
  checkOptions(rest as object | undefined, 'rest')
  if (isHidden !== undefined) checkFunction(isHidden, 'isHidden')
  const toHidden = patterns(options.toHidden, 'toHidden')
  const toRest = patterns(options.toRest, 'toRest')
  const named = namedParametersOf(parameters)
  const embeddings = parameters instanceof Module ? embedded(parameters) : new Set<string>()
  const shapes = named.map(([name, p]) => toTensor(p, name).shape)
  const matrix = (shape: readonly number[]) => shape.length >= 2 && shape[0] !== 1
  const last = shapes.findLastIndex(matrix)
  const head = inBlock.test(named[last]?.[0] ?? '') ? -1 : last
  const chosen = named.map(([name], i) => {
    const shape = shapes[i] as readonly number[]
    const decided = isHidden?.(name, shape)
    if (decided !== undefined) return decided
    if (listed(name, toRest)) return false
    if (listed(name, toHidden)) return true
    return matrix(shape) && i !== head && !embeddings.has(name) && !notHidden.test(name)
  })
  const pick = (wanted: boolean) => named.filter((_, i) => chosen[i] === wanted).map(([, p]) => p)
  return {
    hidden: { ...(hidden as Partial<Hidden>), params: pick(true) },
    rest: { ...(rest as Partial<Rest>), params: pick(false) },
  }
}
