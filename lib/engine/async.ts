/** Awaits the engine's asynchronous calls. */

import { checkInstance, checkOptions } from './check.js'
import { AbortError } from './errors.js'
import { type NativeJob, native } from './native.js'

/** Options of every asynchronous form. */
export interface AsyncOptions {
  /** Aborting rejects with AbortError and leaves all arguments as they were. */
  signal?: AbortSignal | undefined
}

/**
 * Runs a call that `start` has prepared, on another thread. The engine works on copies: the caller's
 * arrays are written when it is done, all at once, or not at all.
 */
export async function runAsync(
  start: () => NativeJob,
  options: AsyncOptions = {},
): Promise<unknown> {
  const { signal } = checkOptions(options)
  if (signal) checkInstance(signal, AbortSignal, 'signal')
  if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason })
  const { promise, job } = start()
  if (!signal) return promise
  const abort = () => native.abort(job)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
