/** The machine's limits, measured by the engine's probes. */

import { begin, number, view } from '../lib/engine/call.js'
import { native } from '../lib/engine/native.js'
import { ones, zeros } from '../lib/index.js'
import type { Limit } from './rows/row.js'

// The numbers are those of Probe in native/include/palimpsest/ops/probe.h.
const probes: Record<Limit, { code: number; repetitions: number }> = {
  f32: { code: 0, repetitions: 2000 },
  f64: { code: 1, repetitions: 2000 },
  bf16: { code: 2, repetitions: 2000 },
  copy: { code: 3, repetitions: 1 },
  read: { code: 4, repetitions: 1 },
  write: { code: 5, repetitions: 1 },
}

/**
 * The best of several rates: FLOP/s or bytes/s; 0 where the machine has no such instruction. `quick`
 * measures once, roughly.
 */
export function measureLimits(quick: boolean): Record<Limit, number> {
  const size = quick ? 1 << 22 : 1 << 25
  const trials = quick ? 1 : 5
  const from = ones([size])
  const to = zeros([size])
  const rate = ({ code, repetitions }: { code: number; repetitions: number }) => {
    let best = 0
    for (let i = 0; i < trials; i++) {
      begin()
      view(from)
      view(to)
      number(code)
      number(quick ? Math.ceil(repetitions / 10) : repetitions)
      const start = performance.now()
      const work = native.probe(from.array, to.array) as number
      best = Math.max(best, work / ((performance.now() - start) / 1e3))
    }
    return best
  }
  const limits = Object.fromEntries(
    Object.entries(probes).map(([name, probe]) => [name, rate(probe)]),
  ) as Record<Limit, number>
  from.dispose()
  to.dispose()
  return limits
}
