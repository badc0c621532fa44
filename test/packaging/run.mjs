// Installs the packed tarballs into an empty folder without install scripts and trains there: from ESM,
// from require, and from strict TypeScript. Prints TAP.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const packages = join(root, 'dist/packages')
const folder = mkdtempSync(join(tmpdir(), 'palimpsest-user-'))
const run = (command, ...args) => execFileSync(command, args, { cwd: folder, encoding: 'utf8' })
let count = 0
let failed = 0

function check(name, body) {
  count++
  try {
    body()
    console.log(`ok ${count} - packages: ${name}`)
  } catch (error) {
    failed++
    console.log(`not ok ${count} - packages: ${name}`)
    console.log(`${error.stdout ?? ''}${error.stderr ?? error.stack}`.replace(/^/gm, '  # '))
  }
}

const training = `
const x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
const y = tensor([0, 1, 1, 0], { dtype: 'int32' })
manualSeed(3)
const net = new nn.Sequential(new nn.Linear(2, 16, { activation: 'tanh' }), new nn.Linear(16, 2))
const optimizer = new optim.AdamW(net.parameters(), { lr: 0.05 })
for (let step = 0; step < 200; step++) {
  scope(() => {
    nn.crossEntropy(net.call(x), y).backward()
    optimizer.step()
    optimizer.zeroGrad()
  })
}
const loss = nn.crossEntropy(net.call(x), y).item()
if (!(loss < 0.05)) throw new Error('loss ' + loss)
`

writeFileSync(join(folder, 'package.json'), '{ "name": "user", "private": true }\n')
writeFileSync(
  join(folder, 'train.mjs'),
  `import { manualSeed, scope, tensor } from 'palimpsest'\nimport * as nn from 'palimpsest/nn'\nimport * as optim from 'palimpsest/optim'\n${training}`,
)
writeFileSync(
  join(folder, 'train.cjs'),
  `const { manualSeed, scope, tensor } = require('palimpsest')\nconst nn = require('palimpsest/nn')\nconst optim = require('palimpsest/optim')\n${training}`,
)
writeFileSync(
  join(folder, 'train.mts'),
  `import { manualSeed, scope, type Tensor, tensor } from 'palimpsest'\nimport * as nn from 'palimpsest/nn'\nimport * as optim from 'palimpsest/optim'\n${training}\nexport const result: Tensor = tensor([loss])\n`,
)

const all = readdirSync(packages).map((file) => join(packages, file))
const main = all.filter(
  (file) => !file.includes('palimpsest-linux') && !file.includes('palimpsest-darwin'),
)
const base = all.filter((file) => !file.includes('-cuda-'))

check('without a binary, loading throws one error that says what to do', () => {
  run('npm', 'install', '--ignore-scripts', '--omit=optional', '--no-save', ...main)
  const { status, stderr } = spawnSync(process.execPath, ['train.mjs'], {
    cwd: folder,
    encoding: 'utf8',
  })
  if (status === 0) throw new Error('it loaded something')
  if (!/no Palimpsest engine fits[\s\S]*To build it from source/.test(stderr))
    throw new Error(stderr)
})
check('the tarballs install without install scripts', () => {
  run('npm', 'install', '--ignore-scripts', '--omit=optional', '--no-save', ...base)
})
check('training from ESM', () => run(process.execPath, 'train.mjs'))
check('training from require', () => run(process.execPath, 'train.cjs'))
check('strict TypeScript', () => {
  run(
    'npm',
    'install',
    '--ignore-scripts',
    '--omit=optional',
    '--no-save',

    '@types/node@20',
    ...all,
  )
  run(
    process.execPath,
    join(root, 'node_modules/typescript/lib/tsc.js'),
    '--strict',
    '--noEmit',
    '--target',
    'es2022',
    '--lib',
    'es2024,esnext.disposable',
    '--module',
    'nodenext',
    '--types',
    'node',
    '--skipLibCheck',
    'train.mts',
  )
})
check('the command line', () => run('npx', 'palimpsest', 'doctor'))

// The CUDA package holds the stand-in for a GPU here: it is found, opened and computed on as the plugin is.
const standIn = join(root, 'build/tests/palimpsest-testdevice.so')
if (`${process.platform}-${process.arch}` === 'linux-x64' && existsSync(standIn)) {
  writeFileSync(
    join(folder, 'device.mjs'),
    `import { devices, tensor } from 'palimpsest'
const [, first] = devices()
console.log(first.id, first.name, first.reason ?? tensor([1, 2]).to('cuda').add(1).toArray().join())`,
  )
  const device = (expected) => {
    const seen = run(process.execPath, 'device.mjs')
    if (!expected.test(seen)) throw new Error(seen)
  }
  check('without the CUDA package devices() says how to get it', () =>
    device(/^cuda none .*npm install @palimpsest\/linux-x64-cuda/),
  )
  check('the CUDA package installs beside the others, and is found', () => {
    const made = mkdtempSync(join(tmpdir(), 'palimpsest-cuda-'))
    try {
      run(process.execPath, join(root, 'scripts/pack.mjs'), '--cuda', standIn, made)
      const tarball = join(made, readdirSync(made)[0])
      run('npm', 'install', '--ignore-scripts', '--omit=optional', '--no-save', ...base, tarball)
      device(/^cuda:0 test device 0 2,3$/m)
    } finally {
      rmSync(made, { recursive: true })
    }
  })
}

console.log(`1..${count}`)
rmSync(folder, { recursive: true })
process.exitCode = failed === 0 ? 0 : 1
