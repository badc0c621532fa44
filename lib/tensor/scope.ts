/** Scopes: everything made inside is disposed at the end, but for what is returned or kept. */

import { checkFunction } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import type { Tensor } from './tensor.js'

let current: Tensor[] | null = null

/** Called for every new tensor. */
export function track(tensor: Tensor): void {
  if (current) current.push(tensor)
}

/** Tensors inside a value: itself, or what arrays and plain objects hold. */
function collect(value: unknown, found: Set<object>): void {
  if (typeof value !== 'object' || value === null || found.has(value)) return
  found.add(value)
  if (Array.isArray(value)) {
    for (const element of value) collect(element, found)
  } else if (value instanceof Map) {
    for (const element of value.values()) collect(element, found)
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const element of Object.values(value)) collect(element, found)
  }
}

/**
 * Runs `fn` and disposes every tensor that was made meanwhile, except what it returns (a tensor, or
 * arrays, maps and plain objects of tensors), parameters' gradients, and tensors marked by `keep()`.
 * Their memory is reused by the next step. `fn` must be synchronous: between two turns of the event
 * loop other code would make tensors too.
 */
export function scope<T>(fn: () => T): T {
  checkFunction(fn, 'fn')
  return scopeWith(fn, null)
}

/** scope() that also tells which tensors it made and returned. */
export function scopeWith<T>(fn: () => T, survivors: Tensor[] | null): T {
  const outer = current
  const mine: Tensor[] = []
  current = mine
  let result: T | undefined
  const returned = new Set<object>()
  try {
    result = fn()
    if (result instanceof Promise) {
      result.catch(() => undefined)
      throw new ArgumentError("expected a synchronous function for 'fn' but it returned a promise")
    }
    collect(result, returned)
    return result
  } finally {
    current = outer
    for (const tensor of mine) {
      if (returned.has(tensor)) {
        outer?.push(tensor)
        survivors?.push(tensor)
      } else if (!tensor.kept) tensor.dispose()
    }
  }
}
