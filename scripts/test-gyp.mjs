// Builds the addon with node-gyp, as people without CMake do, in a folder of its own, and checks that
// what comes out works.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'palimpsest-gyp-'))
let status = 1
try {
  for (const part of ['native', 'scripts', 'binding.gyp', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const run = (command, args, options) =>
    spawnSync(command, args, { stdio: 'inherit', ...options }).status ?? 1
  status = run('npx', ['--no-install', 'node-gyp', 'rebuild', '-j', '2'], { cwd: folder })
  if (status === 0) {
    const env = { ...process.env, PALIMPSEST_BINARY: join(folder, 'build/Release/palimpsest.node') }
    status = run(process.execPath, [join(root, 'dist/lib/cli/main.js'), 'doctor'], { env })
  }
} finally {
  rmSync(folder, { recursive: true })
}
process.exit(status)
