/** Optimizers' state in safetensors files, and PyTorch's state converted to ours. */

import { wrong } from '../engine/check.js'
import { FormatError } from '../engine/errors.js'
import { openSafetensors } from '../io/safetensors.js'
import { saveSafetensors } from '../io/safetensors-writer.js'
import type { ArrayLike } from '../tensor/interop.js'
import type { StateArray } from './algorithm.js'
import type { OptimizerState } from './optimizer.js'

const format = 'palimpsest-optimizer'
const torchFormat = 'torch-optimizer'

/**
 * Writes an optimizer's state: tensors `state.<parameter>.<name>`, and steps and options as metadata.
 * The file is there whole or not at all.
 *
 * @param path where
 * @param state what `optimizer.stateDict()` gave
 */
export function saveOptimizerState(path: string, state: OptimizerState): void {
  const tensors: Record<string, ArrayLike> = {}
  if (!Array.isArray(state?.state) || !Array.isArray(state.paramGroups)) {
    wrong('state', 'what stateDict() of an optimizer gives', state)
  }
  const steps = state.state.map((entry, i) => {
    for (const [name, value] of Object.entries(entry)) {
      if (typeof value === 'number') continue
      const dtype = value instanceof Float32Array ? 'float32' : 'bfloat16'
      tensors[`state.${i}.${name}`] = { data: value, shape: [value.length], dtype } as ArrayLike
    }
    return entry['step']
  })
  const { kind, paramGroups } = state
  saveSafetensors(path, tensors, { format, state: JSON.stringify({ kind, steps, paramGroups }) })
}

/**
 * Reads what `saveOptimizerState` or scripts/torch_optimizer.py wrote, for `loadStateDict`. PyTorch's
 * AdamW, Adam, SGD and Muon are known; their options come along.
 *
 * @throws FormatError where the file holds something else
 */
export function loadOptimizerState(path: string): OptimizerState {
  const file = openSafetensors(path)
  try {
    const entries: Record<string, StateArray>[] = []
    for (const name of file.names) {
      const [, index, key] = /^state\.(\d+)\.(.+)$/.exec(name) ?? []
      if (index === undefined || key === undefined) {
        throw new FormatError(`${path}: '${name}' is no part of an optimizer's state`)
      }
      entries[Number(index)] ??= {}
      ;(entries[Number(index)] as Record<string, StateArray>)[key] = file.read(name)
        .data as StateArray
    }
    const { metadata } = file
    const text = metadata['state']
    if (text === undefined) throw new FormatError(`${path} holds no optimizer's state`)
    const saved = JSON.parse(text)
    if (metadata['format'] === torchFormat) return fromTorch(saved, entries, path)
    if (metadata['format'] !== format) {
      throw new FormatError(`${path} has the format ${metadata['format']}, expected ${format}`)
    }
    return {
      kind: saved.kind,
      state: (saved.steps as number[]).map((step, i) => ({ ...entries[i], step })),
      paramGroups: saved.paramGroups,
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new FormatError(`${path}: its metadata is no JSON`, { cause: error })
  } finally {
    file.close()
  }
}

/** What scripts/torch_optimizer.py writes besides tensors. */
interface TorchSaved {
  optimizer: string
  paramGroups: ({ params: number[] } & Record<string, unknown>)[]
}

/** PyTorch's names and ours: of state tensors, and of options. */
interface Translation {
  kind: string
  state: Record<string, string>
  options: Record<string, string>
  fixed?: Record<string, unknown>
}

const adam: Translation = {
  kind: 'adamw',
  state: { exp_avg: 'm', exp_avg_sq: 'v', max_exp_avg_sq: 'vMax' },
  options: {
    lr: 'lr',
    betas: 'betas',
    eps: 'eps',
    weight_decay: 'weightDecay',
    amsgrad: 'amsgrad',
    maximize: 'maximize',
    decoupled_weight_decay: 'decoupled',
  },
}
const translations: Record<string, Translation> = {
  AdamW: { ...adam, fixed: { decoupled: true } },
  Adam: adam,
  SGD: {
    kind: 'sgd',
    state: { momentum_buffer: 'momentum' },
    options: {
      lr: 'lr',
      momentum: 'momentum',
      dampening: 'dampening',
      weight_decay: 'weightDecay',
      nesterov: 'nesterov',
      maximize: 'maximize',
    },
  },
  Muon: {
    kind: 'muon',
    state: { momentum_buffer: 'momentum' },
    options: {
      lr: 'lr',
      weight_decay: 'weightDecay',
      momentum: 'momentum',
      nesterov: 'nesterov',
      eps: 'eps',
      ns_steps: 'steps',
    },
    fixed: { momentumForm: 'ema', batchAxes: 0, outputAxis: 'first' },
  },
}

/** PyTorch's ns_coefficients are one triple for all steps; adjust_lr_fn's null means 'original'. */
function muonOptions(group: Record<string, unknown>): Record<string, unknown> {
  const { ns_coefficients: triple, ns_steps: steps, adjust_lr_fn: adjust } = group
  const adjustLr = adjust === 'match_rms_adamw' ? 'match-rms-adamw' : 'original'
  return { adjustLr, coefficients: Array.from({ length: Number(steps) }, () => triple) }
}

function fromTorch(
  saved: TorchSaved,
  entries: readonly Record<string, StateArray>[],
  path: string,
): OptimizerState {
  const translation = translations[saved.optimizer]
  if (!translation) wrong('optimizer', Object.keys(translations).join(' or '), saved.optimizer)
  const { kind, state: names, options, fixed } = translation as Translation
  const paramGroups = saved.paramGroups.map((group) => {
    const translated = Object.entries(options).flatMap(([theirs, ours]) =>
      theirs in group ? [[ours, group[theirs]]] : [],
    )
    return {
      ...Object.fromEntries(translated),
      ...fixed,
      ...(kind === 'muon' ? muonOptions(group) : {}),
      algorithm: kind,
      params: group.params,
    }
  })
  const count = paramGroups.reduce((n, { params }) => n + params.length, 0)
  const state = Array.from({ length: count }, (_, i) => {
    const entry: Record<string, StateArray | number> = { step: 0 }
    for (const [name, array] of Object.entries(entries[i] ?? {})) {
      if (name === 'step') entry['step'] = array[0] as number
      else {
        const ours = names[name]
        if (ours === undefined) throw new FormatError(`${path}: unknown state '${name}'`)
        entry[ours] = array
        // SGD and Muon count no steps; what matters is that the first is past.
        entry['step'] ||= 1
      }
    }
    return entry
  })
  return { kind, state, paramGroups }
}
