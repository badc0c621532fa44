// Builds the engine and its unit tests for arm64 with a cross compiler and runs them under QEMU: the
// NEON kernels against float64. Debian: g++-aarch64-linux-gnu, qemu-user.
import { spawnSync } from 'node:child_process'

const folder = 'build/arm64'
const steps = [
  [
    'cmake',
    '-S',
    '.',
    '-B',
    folder,
    '-DPALIMPSEST_TESTS=ON',
    '-DCMAKE_SYSTEM_NAME=Linux',
    '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
    '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++',
  ],
  ['cmake', '--build', folder, '--parallel', '2'],
  ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', `${folder}/palimpsest_tests`],
]
for (const [command, ...args] of steps) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (error) console.error(`${command}: ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}
