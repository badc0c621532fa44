/** Finds the binary that fits this machine. */

import { createRequire } from 'node:module'
import { DeviceError } from './errors.js'

const require = createRequire(import.meta.url)

/** Where binaries are looked for, in order: an explicit path, a build in this checkout, the platform's package. */
function candidates(): string[] {
  const explicit = process.env['PALIMPSEST_BINARY']
  if (explicit) return [explicit]
  return [
    new URL('../../../build/Release/palimpsest.node', import.meta.url).pathname,
    `@palimpsest/${process.platform}-${process.arch}`,
  ]
}

/** Loads the addon or throws one error that tells everything that was tried. */
export function load(): unknown {
  const failures: string[] = []
  for (const candidate of candidates()) {
    try {
      return require(candidate)
    } catch (error) {
      failures.push(`  ${candidate}: ${String((error as Error).message).split('\n')[0]}`)
    }
  }
  throw new DeviceError(
    `no Palimpsest engine could be loaded for ${process.platform}-${process.arch}. Tried:\n${failures.join('\n')}`,
  )
}
