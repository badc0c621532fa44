/** What there is to compute on. */

import { totalmem } from 'node:os'
import { checkInteger } from './check.js'
import { native } from './native.js'

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

/** All devices of this machine; the first is the CPU. */
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
  ]
}

/** The number of threads that operations of this Node environment use; at first the physical cores. */
export const threads = (): number => native.threads()

/** Sets the number of threads. Results do not depend on it. */
export function setThreads(n: number): void {
  native.threads(checkInteger(n, 'n', 1, 256))
}
