/** LoRA: low-rank adaptation (Hu et al., arXiv 2106.09685). */

import { checkOptions } from '../engine/check.js'
import type { Module } from '../nn/index.js'
import { init } from '../nn/index.js'
import { checkGenerator, type Generator } from '../random/index.js'
import { Tensor, zeros } from '../tensor/index.js'
import { type AdapterOptions, type Adapters, attach } from './adapters.js'

/** Options of lora. */
export interface LoraOptions extends AdapterOptions {
  /** Draws A. */
  generator?: Generator
}

/**
 * Adapters with A uniform in ±1/√in (Kaiming with a = √5, as peft) and B = 0: the model's outputs are
 * what they were.
 *
 * @returns the adapters; give their `parameters()` to an optimizer
 */
export function lora(model: Module, given: LoraOptions = {}): Adapters {
  const { generator, ...options } = checkOptions(given)
  checkGenerator(generator)
  return attach(model, 'lora', options, (weight, { rank }) => {
    const [out, width] = weight.shape as [number, number]
    const a = init.kaimingUniform(Tensor.empty([rank, width]), Math.sqrt(5), generator)
    return { a, b: zeros([out, rank]) }
  })
}
