/** Finds the binary that fits this machine. */

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { DeviceError } from './errors.js'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The platform's package: '@palimpsest/linux-x64', with '-musl' where the C library is musl. */
function platformPackage(): string {
  const report = process.report?.getReport() as
    | { header?: { glibcVersionRuntime?: string } }
    | undefined
  const musl = process.platform === 'linux' && !report?.header?.glibcVersionRuntime
  return `@palimpsest/${process.platform}-${process.arch}${musl ? '-musl' : ''}`
}

/** Where binaries are looked for, in order: an explicit path, a build in this folder, the platform's package. */
function candidates(): string[] {
  const explicit = process.env['PALIMPSEST_BINARY']
  return explicit ? [explicit] : [`${root}build/Release/palimpsest.node`, platformPackage()]
}

let used = ''
const failures: string[] = []

/** Loads the addon, or throws one error that tells everything that was tried and what to do. */
export function load(): unknown {
  for (const candidate of candidates()) {
    try {
      const addon = require(candidate)
      used = candidate
      return addon
    } catch (error) {
      const local = candidate.endsWith('.node') && !existsSync(candidate)
      const reason = local ? 'no such file' : String((error as Error).message).split('\n')[0]
      failures.push(`${candidate}: ${reason}`)
    }
  }
  throw new DeviceError(
    [
      `no Palimpsest engine fits ${process.platform}-${process.arch} with Node ${process.version}. Tried:`,
      ...failures.map((failure) => `  ${failure}`),
      'To build it from source (needs a C++20 compiler; CMake or Python):',
      `  npm explore palimpsest -- npm install --ignore-scripts=false node-addon-api node-api-headers cmake-js node-gyp && npm explore palimpsest -- node scripts/build-native.mjs`,
    ].join('\n'),
  )
}

/** Which binary is in use, and why those before it were not. */
export function binaryInUse(): { binary: string; passedOver: string[] } {
  return { binary: used, passedOver: [...failures] }
}
