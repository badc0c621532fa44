/**
 * Writes the argument block: numbers, shapes and strides that a binding reads in the same order
 * (native/addon/call.h). Write everything for one call, then make the call; nothing else may run between.
 */

import { PalimpsestError } from './errors.js'
import { native } from './native.js'

const { block } = native
let at = 0

/** What the engine needs to know of a tensor besides its buffer. */
export interface Described {
  /** The dtype's number (lib/tensor/dtype.ts). */
  readonly dtypeCode: number
  /** Index of element [0, …, 0] in the buffer. */
  readonly offset: number
  readonly shape: readonly number[]
  /** In elements. */
  readonly strides: readonly number[]
}

/** Starts the arguments of a call. */
export function begin(): void {
  at = 0
}

/** The next number, enumerator or flag. */
export function number(value: number | boolean): void {
  if (at >= block.length) throw new PalimpsestError('too many arguments for one native call')
  block[at++] = Number(value)
}

/** The next view. */
export function view(tensor: Described): void {
  viewAs(tensor, tensor.shape, tensor.strides)
}

/** The next view: a tensor's buffer seen with another shape and other strides. */
export function viewAs(
  tensor: Described,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const rank = shape.length
  if (at + 3 + 2 * rank > block.length) {
    throw new PalimpsestError('too many arguments for one native call')
  }
  block[at++] = tensor.dtypeCode
  block[at++] = tensor.offset
  block[at++] = rank
  for (let i = 0; i < rank; i++) block[at++] = shape[i] as number
  for (let i = 0; i < rank; i++) block[at++] = strides[i] as number
}

/** The next list of views. */
export function views(tensors: readonly Described[]): void {
  number(tensors.length)
  for (const tensor of tensors) view(tensor)
}

/** The next view: `length` elements side by side. */
export function flatView(dtypeCode: number, offset: number, length: number): void {
  if (at + 5 > block.length) throw new PalimpsestError('too many arguments for one native call')
  block[at++] = dtypeCode
  block[at++] = offset
  block[at++] = 1
  block[at++] = length
  block[at++] = 1
}
