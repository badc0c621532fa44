/** What there is to compute on. */

import { totalmem } from 'node:os'
import { checkInteger, checkNumber, wrong } from './check.js'
import { type DeviceMemory, native } from './native.js'
import { openDevice, pluginDevices } from './plugins.js'

export type { DeviceMemory } from './native.js'

/** A device that tensors can live on, or one that could not be used. */
export interface DeviceInfo {
  /** 'cpu', 'cuda:0' … */
  id: string
  name: string
  /** Instruction sets, or the compute capability. */
  features: string[]
  /** Threads in use (CPU). */
  threads?: number
  memoryBytes: number
  /** Why the device cannot be used, where it cannot. */
  reason?: string
}

/**
 * All devices of this machine; the first is the CPU. One that cannot be used has a `reason`; where
 * there is no GPU at all, 'cuda' is listed with the reason why.
 */
export function devices(): DeviceInfo[] {
  const { name, level, features } = native.cpu()
  return [
    {
      id: 'cpu',
      name,
      features: [`level:${level}`, ...features],
      threads: native.threads(),
      memoryBytes: totalmem(),
    },
    ...pluginDevices(),
  ]
}

/**
 * How a device's memory is used, in bytes. What tensors and scratch memory gave back is kept for the
 * next request; `limit`, where given, is the most that both together may take from now on.
 */
export function deviceMemory(device: string, limit?: number): DeviceMemory {
  const { number } = openDevice(device)
  return limit === undefined
    ? native.deviceMemory(number)
    : native.deviceMemory(number, checkNumber(limit, 'limit', 0))
}

/** Gives a device's unused memory back to it. */
export const emptyCache = (device: string): void => native.trimDevice(openDevice(device).number)

/** Waits until a device has done all that it was asked for. */
export const synchronize = (device: string): void =>
  native.synchronizeDevice(openDevice(device).number)

/**
 * How long a device works on what `run` asks of it, in milliseconds by the device's own clock (CUDA events
 * around it): from where the first of it begins, after all that was asked for before, to the end of the last.
 */
export function elapsed(device: string, run: () => unknown): number {
  const { number } = openDevice(device)
  if (typeof run !== 'function') wrong('run', 'a function', run)
  native.clockDevice(number, 0)
  run()
  return native.clockDevice(number, 1)
}

/** The number of threads that operations of this Node environment use; at first the physical cores. */
export const threads = (): number => native.threads()

/** Sets the number of threads. Results do not depend on it. */
export function setThreads(n: number): void {
  native.threads(checkInteger(n, 'n', 1, 256))
}
