// Packs what users install into dist/packages/: `palimpsest` (JavaScript, types, sources; no install
// script), the binary of this platform as `@palimpsest/<platform>`, and where `npm run build:cuda` was run
// the CUDA plugin as `@palimpsest/<platform>-cuda`, which is installed beside them by who wants it.
//
//   node scripts/pack.mjs [--cuda <plugin> <folder>]    the plugin's package alone, into a folder
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [only, givenPlugin, givenFolder] = process.argv.slice(2)
const cudaOnly = only === '--cuda'
const out = cudaOnly ? givenFolder : join(root, 'dist/packages')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const { platform, arch } = process
const musl = platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
const platformName = `@palimpsest/${platform}-${arch}${musl ? '-musl' : ''}`

function pack(name, fill) {
  const folder = mkdtempSync(join(tmpdir(), 'palimpsest-pack-'))
  try {
    fill(folder)
    const [{ filename }] = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', out], {
        cwd: folder,
        encoding: 'utf8',
      }),
    )
    console.log(`${name}: dist/packages/${filename}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function write(folder, value) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(value, null, 2)}\n`)
}

const cuda = cudaOnly ? givenPlugin : join(root, 'build/Release/palimpsest-cuda.so')
if (existsSync(cuda)) {
  if (!cudaOnly) start()
  packCuda()
} else if (cudaOnly) {
  throw new Error(`there is no ${cuda}`)
} else {
  start()
  console.log(`${platformName}-cuda: left out, the plugin is not built (npm run build:cuda)`)
}
if (cudaOnly) process.exit()

function start() {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
}

function packCuda() {
  const name = `${platformName}-cuda`
  pack(name, (folder) => {
    write(folder, {
      name,
      version: manifest.version,
      description: "Palimpsest's kernels for NVIDIA GPUs; needs a driver for CUDA 13, nothing else",
      license: manifest.license,
      os: [platform],
      cpu: [arch],
      libc: ['glibc'],
      files: ['palimpsest-cuda.so'],
      peerDependencies: { palimpsest: manifest.version },
    })
    cpSync(cuda, join(folder, 'palimpsest-cuda.so'))
    cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  })
}

pack('palimpsest', (folder) => {
  const { scripts: _, devDependencies: __, ...rest } = manifest
  const names = ['linux-x64', 'linux-arm64', 'darwin-arm64'].map((name) => `@palimpsest/${name}`)
  const optionalDependencies = Object.fromEntries(names.map((name) => [name, manifest.version]))
  write(folder, { ...rest, optionalDependencies })
  for (const file of [...manifest.files, 'README.md', 'LICENSE']) {
    cpSync(join(root, file), join(folder, file), { recursive: true })
  }
})

pack(platformName, (folder) => {
  write(folder, {
    name: platformName,
    version: manifest.version,
    description: `Palimpsest's engine for ${platform} on ${arch}`,
    license: manifest.license,
    os: [platform],
    cpu: [arch],
    ...(platform === 'linux' ? { libc: [musl ? 'musl' : 'glibc'] } : {}),
    main: 'palimpsest.node',
    files: ['palimpsest.node'],
  })
  cpSync(join(root, 'build/Release/palimpsest.node'), join(folder, 'palimpsest.node'))
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
})
