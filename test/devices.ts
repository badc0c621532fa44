/** The devices that tests run on: the CPU, two that stand for a GPU, and every GPU there is. */

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { devices } from '../lib/engine/devices.js'
import { addPlugin } from '../lib/engine/plugins.js'

function add(name: string, file: string): void {
  const path = fileURLToPath(new URL(`../../build/${file}`, import.meta.url))
  if (existsSync(path)) addPlugin(name, path)
}
// The CPU's kernels behind the door of the GPU's, on memory that JavaScript cannot see (npm run build:tests).
add('test', 'tests/palimpsest-testdevice.so')
// CUDA's kernels, run on the CPU by an emulator (npm run build:cudaemu).
add('emulated', 'Release/palimpsest-cudaemu.so')

/** Ids of the devices that can be used, and for those that cannot the reason, for a skipped test. */
export function devicesUnderTest(): { id: string; skip?: string }[] {
  return devices()
    .filter(({ id }) => id !== 'test:1')
    .map(({ id, reason }) => (reason ? { id, skip: `${id}: ${reason}` } : { id }))
}

/** Without the CPU. */
export const acceleratorsUnderTest = () => devicesUnderTest().filter(({ id }) => id !== 'cpu')
