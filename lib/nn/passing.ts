/**
 * What goes from layer to layer inside a network. An intermediate result that only layers of this package
 * have seen can be held by nobody else: its memory may go back while the backward pass runs, or at once
 * where nothing is recorded. What a hook or a module of the user's was shown stays until its scope ends.
 */

import { usedUp } from '../autograd/tape.js'
import { Tensor } from '../tensor/tensor.js'
import type { Module } from './module.js'

const discreet = new Set<unknown>()

/**
 * Marks classes of layers that keep no hold of what they are given or give, and hand it to layers inside
 * them by pass() alone.
 */
export function discreetly(...classes: unknown[]): void {
  for (const one of classes) discreet.add(one)
}

/** Whether a layer is of such a class, and nobody put something over its methods. */
export const isDiscreet = (layer: Module): boolean =>
  discreet.has(layer.constructor) &&
  !Object.hasOwn(layer, 'forward') &&
  !Object.hasOwn(layer, 'call')

/** Marks a tensor that code outside the package is shown. */
export function shown(x: unknown): void {
  if (x instanceof Tensor) x.holder = 'outside'
}

/** A layer's output; notes what others may hold from now on. */
export function pass(layer: Module, x: Tensor, ...rest: unknown[]): Tensor {
  const y = layer.call(x, ...rest)
  if (!isDiscreet(layer)) {
    shown(x)
    shown(y)
  }
  return y
}

/**
 * The same of an intermediate result that this layer alone needs.
 *
 * @param kept what others need too: layers before may have handed it on as it is
 */
export function through(
  layer: Module,
  x: Tensor,
  kept: Tensor | null = null,
  ...rest: unknown[]
): Tensor {
  const y = pass(layer, x, ...rest)
  if (x !== kept) usedUp(x, y)
  return y
}
