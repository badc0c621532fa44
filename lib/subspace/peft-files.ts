/**
 * Adapters in peft's format: adapter_model.safetensors with base_model.model.<layer>.lora_A.weight and
 * lora_B.weight, adapter_config.json beside it.
 */

import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkInstance, checkOptions, checkPath } from '../engine/check.js'
import { ArgumentError, FormatError, ShapeError } from '../engine/errors.js'
import { reached, writeAtomically } from '../io/atomic.js'
import { loadSafetensors, saveSafetensors } from '../io/index.js'
import { Conv2d, Module } from '../nn/index.js'
import { cat, noGrad, scope, type Tensor } from '../tensor/index.js'
import { type Adapted, Adapters, asMatrix, attach } from './adapters.js'
import { pissa } from './pissa.js'

const prefix = 'base_model.model.'

/** Options of saveAdapters. */
export interface SaveAdaptersOptions {
  /**
   * Writes an adapter of the original weights instead of the residual ones: rank 2r, scale·(B·A −
   * B₀·A₀), which any LoRA loader takes (peft's path_initial_model_for_weight_conversion). Only for
   * methods that changed the weights. False by default.
   */
  asLora?: boolean
}

function factors({ layer, adapter, name }: Adapted, asLora: boolean): [Tensor, Tensor] {
  const { loraA, loraB, start } = adapter
  let [a, b] = [loraA.detach(), loraB.detach()]
  if (asLora) {
    if (!start)
      throw new ArgumentError(
        `'asLora' is for adapters that changed weights, layer '${name}' did not`,
      )
    a = cat([a, start.a], 0)
    b = cat([b, start.b.neg()], 1)
  }
  if (layer instanceof Conv2d) {
    const [, ...window] = layer.weight.shape
    a = a.reshape(-1, ...window)
    b = b.reshape(...(b.shape as number[]), 1, 1)
  }
  return [a, b]
}

/** Writes both files to a folder, which is made where it is missing. */
export function saveAdapters(
  adapters: Adapters,
  folder: string,
  options: SaveAdaptersOptions = {},
): void {
  const { asLora = false } = checkOptions(options)
  const { rank, alpha, method, layers } = checkInstance(adapters, Adapters, 'adapters')
  checkPath(folder, 'folder')
  const width = asLora ? 2 : 1
  const config = {
    peft_type: 'LORA',
    task_type: null,
    base_model_name_or_path: null,
    inference_mode: true,
    r: rank * width,
    lora_alpha: alpha * width,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: asLora || method === 'lora' ? true : method,
    target_modules: layers.map(({ name }) => name),
  }
  scope(() => {
    const tensors: Record<string, Tensor> = {}
    for (const adapted of layers) {
      const [a, b] = noGrad(() => factors(adapted, asLora))
      tensors[`${prefix}${adapted.name}.lora_A.weight`] = a
      tensors[`${prefix}${adapted.name}.lora_B.weight`] = b
    }
    mkdirSync(folder, { recursive: true })
    saveSafetensors(join(folder, 'adapter_model.safetensors'), tensors, { format: 'pt' })
  })
  const text = new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)
  writeAtomically(join(folder, 'adapter_config.json'), (append) => append(text))
}

function readConfig(path: string): {
  rank: number
  alpha: number
  method: string
  names: string[]
} {
  let config: Record<string, unknown>
  try {
    config = JSON.parse(reached(path, 'folder', () => readFileSync(path, 'utf8')))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new FormatError(`${path} is no JSON text`, { cause: error })
  }
  const {
    peft_type: type,
    r,
    lora_alpha: alpha,
    init_lora_weights: start,
    target_modules: names,
  } = config
  if (type !== 'LORA') throw new FormatError(`${path}: peft_type is ${String(type)}, expected LORA`)
  if (!Number.isInteger(r) || (r as number) < 1 || typeof alpha !== 'number' || !(alpha > 0))
    throw new FormatError(`${path}: r and lora_alpha must be positive numbers`)
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new FormatError(`${path}: target_modules must be a list of names`)
  const method = typeof start === 'string' && start.startsWith('pissa') ? start : 'lora'
  if (!/^(lora|pissa(_niter_\d+)?)$/.test(method))
    throw new FormatError(`${path}: init_lora_weights is ${String(start)}`)
  return { rank: r as number, alpha, method, names }
}

/**
 * Reads adapters from a folder and puts them on a model. Files that say 'pissa' are of the residual
 * weights: the principal part is taken out of the model's again.
 *
 * @throws FormatError for a malformed file, ArgumentError or ShapeError where it does not fit the model;
 *   the model is unchanged then
 */
export function loadAdapters(model: Module, folder: string): Adapters {
  checkInstance(model, Module, 'model')
  checkPath(folder, 'folder')
  const { rank, alpha, method, names } = readConfig(join(folder, 'adapter_config.json'))
  const tensors = loadSafetensors(join(folder, 'adapter_model.safetensors'))
  const take = (name: string, which: 'A' | 'B', shape: readonly number[]): Tensor => {
    const key = `${prefix}${name}.lora_${which}.weight`
    const x = tensors[key]
    if (!x) throw new FormatError(`${folder} holds no tensor '${key}'`)
    const expected = shape.reduce((product, n) => product * n, 1)
    if (x.size !== expected || x.shape[0] !== shape[0]) {
      throw new ShapeError(
        `'${key}' has shape [${x.shape.join(', ')}], expected [${shape.join(', ')}]`,
      )
    }
    return x.reshape(...shape).to('float32')
  }
  const start = (name: string, weight: Tensor) => {
    const [out, width] = weight.shape as [number, number]
    return { a: take(name, 'A', [rank, width]), b: take(name, 'B', [out, rank]) }
  }
  const options = { rank, alpha, targets: names }
  if (method === 'lora') {
    return attach(model, method, options, (weight, { name }) => start(name, weight))
  }
  // Everything is looked at before the model changes.
  const probe = new Map<string, { a: Tensor; b: Tensor }>()
  for (const [name, layer] of model.namedModules()) {
    if (names.some((target) => name === target || name.endsWith(`.${target}`))) {
      probe.set(name, start(name, asMatrix(layer as never)))
    }
  }
  const niter = method === 'pissa' ? undefined : Number(method.slice('pissa_niter_'.length))
  const adapters = pissa(model, niter === undefined ? options : { ...options, niter })
  noGrad(() => {
    for (const { name, adapter } of adapters.layers) {
      const saved = probe.get(name) as { a: Tensor; b: Tensor }
      adapter.loraA.copy_(saved.a)
      adapter.loraB.copy_(saved.b)
    }
  })
  return adapters
}
