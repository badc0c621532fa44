// Builds the engine and its unit tests for arm64 with a cross compiler and runs them under QEMU: the
// NEON kernels against float64. Debian: g++-aarch64-linux-gnu, qemu-user.
import { nativeTests } from './native-tests.mjs'

nativeTests(
  'build/arm64',
  [
    '-DCMAKE_SYSTEM_NAME=Linux',
    '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
    '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++',
  ],
  ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
)
