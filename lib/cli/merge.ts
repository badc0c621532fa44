/** `palimpsest merge`: several checkpoints into one. */

import { SingleBar } from 'cli-progress'
import { ArgumentError } from '../engine/errors.js'
import {
  average,
  type MergeMethod,
  mergeCheckpoints,
  opcm,
  taskArithmetic,
  ties,
} from '../merge/index.js'

/** Options of the command. */
export interface MergeCommand {
  base?: string
  out: string
  method: string
  scale?: string
  alpha?: string
  density?: string
  json?: boolean
}

function given(name: string, text: string | undefined): Record<string, number> {
  if (text === undefined) return {}
  const value = Number(text)
  if (text.trim() === '' || Number.isNaN(value))
    throw new ArgumentError(`expected a number for '--${name}' but got "${text}"`)
  return { [name]: value }
}

const methods: Record<string, { uses: string[]; make: (options: object) => MergeMethod }> = {
  average: { uses: [], make: average },
  'task-arithmetic': { uses: ['scale'], make: taskArithmetic },
  ties: { uses: ['density', 'scale'], make: ties },
  opcm: { uses: ['alpha'], make: opcm },
}

/** Merges; returns the exit status. */
export function merge(models: string[], options: MergeCommand): number {
  const chosen = Object.hasOwn(methods, options.method) ? methods[options.method] : undefined
  if (!chosen) {
    throw new ArgumentError(
      `expected one of ${Object.keys(methods).join(', ')} for '--method' but got "${options.method}"`,
    )
  }
  const settings = {
    ...given('scale', options.scale),
    ...given('alpha', options.alpha),
    ...given('density', options.density),
  }
  for (const name of Object.keys(settings)) {
    if (!chosen.uses.includes(name))
      throw new ArgumentError(`the method '${options.method}' takes no '--${name}'`)
  }
  const bar = process.stderr.isTTY
    ? new SingleBar({ format: 'merging {bar} {percentage} %', hideCursor: true })
    : null
  bar?.start(1, 0)
  const begin = performance.now()
  const result = (() => {
    try {
      return mergeCheckpoints({
        models,
        out: options.out,
        method: chosen.make(settings),
        ...(options.base === undefined ? {} : { base: options.base }),
        progress: (fraction) => bar?.update(fraction),
      })
    } finally {
      bar?.stop()
    }
  })()
  const seconds = (performance.now() - begin) / 1e3
  const document = { method: options.method, models, out: options.out, seconds, ...result }
  process.stdout.write(
    options.json
      ? `${JSON.stringify(document)}\n`
      : `${options.out}: ${models.length} checkpoints by ${options.method}, ${result.tensors} tensors, ${result.parameters} parameters, ${seconds.toFixed(1)} s\n`,
  )
  return 0
}
