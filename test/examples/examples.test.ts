import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { test } from 'tap'

/** Examples with the number of steps to run, and the accuracy that they must then have passed. */
const examples: Record<string, [steps: number, accuracy: number]> = {
  'bare-arrays': [60, 85],
  ndarray: [100, 80],
  tfjs: [30, 80],
  jax: [60, 85],
}

for (const [name, [steps, least]] of Object.entries(examples)) {
  test(`examples/${name} trains on digits`, async (t) => {
    const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [path, `${steps}`])
    const [, accuracy] = /([\d.]+) %/.exec(stdout) ?? []
    t.ok(Number(accuracy) > least, stdout.trim())
  })
}
