/** The devices that tests run on: the CPU, a test device that stands for a GPU, and every GPU there is. */

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { devices } from '../lib/engine/devices.js'
import { addPlugin } from '../lib/engine/plugins.js'

/** The CPU's kernels behind the door of the GPU's, on memory that JavaScript cannot see. */
const plugin = fileURLToPath(
  new URL('../../build/Release/palimpsest-testdevice.so', import.meta.url),
)
if (existsSync(plugin)) addPlugin('test', plugin)

/** Ids of the devices that can be used, and for those that cannot the reason, for a skipped test. */
export function devicesUnderTest(): { id: string; skip?: string }[] {
  return devices()
    .filter(({ id }) => id !== 'test:1')
    .map(({ id, reason }) => (reason ? { id, skip: `${id}: ${reason}` } : { id }))
}

/** Without the CPU. */
export const acceleratorsUnderTest = () => devicesUnderTest().filter(({ id }) => id !== 'cpu')
