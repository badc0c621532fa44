// Builds the native unit tests in a folder of their own, and runs them there.
import { spawnSync } from 'node:child_process'

/** Ends the process with the status of the first step that fails. `runner` comes before the tests' path. */
export function nativeTests(folder, definitions, runner = []) {
  const steps = [
    ['cmake', '-S', '.', '-B', folder, '-DPALIMPSEST_TESTS=ON', ...definitions],
    ['cmake', '--build', folder, '--target', 'palimpsest_tests', '--parallel', '2'],
    [...runner, `${folder}/palimpsest_tests`],
  ]
  for (const [command, ...args] of steps) {
    const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
    if (error) console.error(`${command}: ${error.message}`)
    if (status !== 0) process.exit(status ?? 1)
  }
}
