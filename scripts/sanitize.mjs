// Builds the engine and its unit tests under each sanitizer and runs them; prints their TAP.
import { spawnSync } from 'node:child_process'

const wanted = process.argv.slice(2)
for (const sanitizers of wanted.length > 0 ? wanted : ['address,undefined', 'thread']) {
  const folder = `build/sanitize-${sanitizers.replace(',', '-')}`
  const steps = [
    [
      'cmake',
      '-S',
      '.',
      '-B',
      folder,
      '-DPALIMPSEST_TESTS=ON',
      `-DPALIMPSEST_SANITIZE=${sanitizers}`,
      '-DCMAKE_CXX_FLAGS_RELEASE=-O1',
    ],
    ['cmake', '--build', folder, '--parallel', '2'],
    [`${folder}/palimpsest_tests`],
  ]
  for (const [command, ...args] of steps) {
    const { status } = spawnSync(command, args, { stdio: 'inherit' })
    if (status !== 0) process.exit(status ?? 1)
  }
}
