// Builds the addon from source: with cmake-js where CMake is found, else with node-gyp.
import { spawnSync } from 'node:child_process'

const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
const run = (command, args) =>
  spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' }).status ?? 1

if (!has('c++') && !has('g++') && !has('clang++')) {
  console.error('palimpsest: no C++ compiler found; install g++ 12 or clang 15, or newer.')
  process.exit(1)
}
const [tool, ...args] = has('cmake')
  ? ['cmake-js', 'compile', '--parallel', '2']
  : ['node-gyp', 'rebuild']
process.exit(run('npx', ['--no-install', tool, ...args]))
