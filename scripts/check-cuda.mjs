// Compiles the CUDA plugin and checks what can be checked without a GPU; prints TAP.
//
//   node scripts/check-cuda.mjs          all files for sm_90 (the Hopper matrix kernels for sm_90a), in build/cuda-check
//   node scripts/check-cuda.mjs --full   the plugin that is shipped: sm_80, sm_90, sm_90a, sm_100 and PTX
//
// Checked: everything compiles and links; ptxas puts no kernel's registers into memory (spills); the Hopper
// kernels hold wgmma instructions (HGMMA in the disassembly where cuobjdump is there, else in the PTX) that
// ptxas does not serialise, and bulk-tensor copies; the others mma; the plugin opens where there is no
// driver, and says so through devices(), doctor and a DeviceError, also as an installed package. Where there is no nvcc all is skipped.
// ptxas's report goes to ptxas.json in the build folder.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const full = process.argv.includes('--full')
const build = join(root, full ? 'build/cuda' : 'build/cuda-check')
const output = full ? join(root, 'build/Release') : build
const architectures = full ? '80;90;100' : '90'

const which = (name) => {
  const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' })
  return found.status === 0 ? found.stdout.trim() : null
}

let count = 0
let failed = 0
function check(name, good, why = '') {
  count++
  if (!good) failed++
  console.log(`${good ? 'ok' : 'not ok'} ${count} - cuda: ${name}`)
  if (!good && why) console.log(String(why).replace(/^/gm, '  # '))
}
function finish() {
  console.log(`1..${count}`)
  process.exit(failed === 0 ? 0 : 1)
}

const nvcc = which('nvcc') ?? (existsSync('/usr/local/cuda/bin/nvcc') && '/usr/local/cuda/bin/nvcc')
if (!nvcc) {
  console.log('ok 1 - cuda: compile # SKIP there is no nvcc on this machine')
  console.log('1..1')
  process.exit(0)
}

const run = (command, args) =>
  spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
const configured = run('cmake', [
  ...['-S', '.', '-B', build, '-DPALIMPSEST_CUDA=ON', `-DPALIMPSEST_CUDA_OUTPUT=${output}`],
  `-DPALIMPSEST_CUDA_ARCHITECTURES=${architectures}`,
])
if (configured.status !== 0) {
  check('configure', false, configured.stderr)
  finish()
}
const began = Date.now()
const jobs = process.env.PALIMPSEST_CUDA_JOBS ?? '2'
const built = run('cmake', ['--build', build, '--target', 'palimpsest-cuda', '--parallel', jobs])
const seconds = Math.round((Date.now() - began) / 1000)
check(
  `compile and link for ${architectures} in ${seconds} s`,
  built.status === 0,
  built.stdout + built.stderr,
)
if (built.status !== 0) finish()

// ---- ptxas's report ---------------------------------------------------------------------------------

const entry = /Compiling entry function '(\w+)' for '(sm_\w+)'/
const spills = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/
const registers = /Used (\d+) registers/
const kernels = []
let serialized = ''
for (const log of readdirSync(join(build, 'cuda')).filter((name) => name.endsWith('.log'))) {
  const file = log.replace('.cu.o.log', '.cu').replace(/^native_cuda_/, '')
  let kernel = null
  for (const line of readFileSync(join(build, 'cuda', log), 'utf8').split('\n')) {
    const [, name, arch] = entry.exec(line) ?? []
    if (name) {
      kernel = { file, name, arch, registers: 0, spilled: 0 }
      kernels.push(kernel)
    }
    const [, , stores, loads] = spills.exec(line) ?? []
    if (kernel && stores) kernel.spilled = Number(stores) + Number(loads)
    if (kernel && registers.test(line)) kernel.registers = Number(registers.exec(line)[1])
    if (/serializ/i.test(line)) serialized += `${line}\n`
  }
}
const filt = which('c++filt')
const readable = (name) =>
  (filt ? execFileSync(filt, [name], { encoding: 'utf8' }).trim() : name).replace(
    /palimpsest::cuda::|\(anonymous namespace\)::|palimpsest::/g,
    '',
  )
writeFileSync(join(build, 'ptxas.json'), `${JSON.stringify(kernels, null, 1)}\n`)
const files = [...new Set(kernels.map(({ file }) => file))].sort()
for (const file of files) {
  const mine = kernels.filter((kernel) => kernel.file === file)
  const targets = [...new Set(mine.map(({ arch }) => arch))].join(' ')
  const bad = mine.filter(({ spilled }) => spilled > 0)
  check(
    `${file}: ${mine.length} kernels for ${targets}, at most ${Math.max(...mine.map((k) => k.registers))} registers, no spills`,
    bad.length === 0,
    bad.map((k) => `${readable(k.name)} for ${k.arch}: ${k.spilled} bytes`).join('\n'),
  )
}
const sources = readdirSync(join(root, 'native/cuda'), { recursive: true })
  .filter((name) => name.endsWith('.cu'))
  .map((name) => name.replaceAll('/', '_'))
const without = ['plugin.cu', 'recorder.cu']
const silent = sources.filter((name) => !files.includes(name) && !without.includes(name))
check('every file has kernels', silent.length === 0, silent.join('\n'))
check('ptxas serialises no wgmma', serialized === '', serialized)

// ---- tensor core instructions -----------------------------------------------------------------------

const cuobjdump = which('cuobjdump')
const object = (name) => join(build, 'cuda', `native_cuda_${name.replaceAll('/', '_')}.o`)
function instructions(name, arch) {
  if (cuobjdump) {
    const { stdout } = run(cuobjdump, ['-sass', object(name)])
    return { text: stdout, from: 'machine code' }
  }
  const ptx = join(build, 'cuda', `${basename(name)}.ptx`)
  const made = run(nvcc, [
    ...['-std=c++20', '-O3', '--expt-relaxed-constexpr', '-arch', `compute_${arch}`, '-ptx'],
    ...['-Inative', '-Inative/include', join('native/cuda', name), '-o', ptx],
  ])
  return { text: made.status === 0 ? readFileSync(ptx, 'utf8') : '', from: 'PTX' }
}
const times = (text, pattern) => text.match(pattern)?.length ?? 0
const hopper = instructions('gemm/hopper.cu', '90a')
const wgmma = times(hopper.text, /\bHGMMA\b|wgmma\.mma_async/g)
check(`Hopper matrix kernels: ${wgmma} wgmma in the ${hopper.from}`, wgmma > 0)
const bulk = times(hopper.text, /\bUTMALDG\b|cp\.async\.bulk\.tensor/g)
check(`Hopper matrix kernels: ${bulk} bulk-tensor copies in the ${hopper.from}`, bulk > 0)
const general = instructions('gemm/mma.cu', '80')
const mma = times(general.text, /\bHMMA\b|mma\.sync/g)
check(`other matrix kernels: ${mma} mma in the ${general.from}`, mma > 0)

// ---- the plugin without a driver --------------------------------------------------------------------

const plugin = join(output, 'palimpsest-cuda.so')
const script = `
import { devices, DeviceError, tensor } from 'palimpsest'
const found = devices().filter(({ id }) => id.startsWith('cuda'))
let refused = null
try { tensor([1]).to('cuda:0').add(1).item() } catch (error) {
  refused = { typed: error instanceof DeviceError, message: error.message }
}
console.log(JSON.stringify({ found, refused }))`
const environment = { ...process.env, PALIMPSEST_CUDA: plugin }
function look(cwd, env) {
  const options = { cwd, encoding: 'utf8', env }
  const opened = spawnSync(process.execPath, ['--input-type=module', '-e', script], options)
  let seen = {}
  try {
    seen = JSON.parse(opened.stdout)
  } catch {}
  return { seen, first: seen.found?.[0], text: opened.stdout + opened.stderr }
}
const { seen, first, text } = look(root, environment)
if (first && !first.reason) {
  check(`the plugin opens: ${first.name}`, seen.refused === null, JSON.stringify(seen))
} else {
  check(
    `the plugin opens without a driver and says why: ${first?.reason}`,
    first?.reason === 'no NVIDIA driver is installed' ||
      /driver|GPU|device/i.test(first?.reason ?? ''),
    text,
  )
  check(
    "to('cuda:0') throws a DeviceError with the reason",
    seen.refused?.typed && seen.refused.message.includes(first?.reason),
    JSON.stringify(seen.refused),
  )
  const doctor = spawnSync(process.execPath, ['dist/lib/cli/main.js', 'doctor', '--json'], {
    cwd: root,
    encoding: 'utf8',
    env: environment,
  })
  check(
    'doctor works and tells it',
    doctor.status === 0 && doctor.stdout.includes(first?.reason),
    doctor.stderr,
  )
}

// ---- its package, installed beside the engine's ------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'palimpsest-cuda-'))
try {
  const packed = run(process.execPath, ['scripts/pack.mjs', '--cuda', plugin, folder])
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
  const modules = join(folder, 'node_modules')
  const home = join(modules, '@palimpsest/linux-x64-cuda')
  mkdirSync(home, { recursive: true })
  run('tar', ['xzf', join(folder, tarball), '-C', home, '--strip-components=1'])
  for (const part of ['package.json', 'dist/lib', 'build/Release/palimpsest.node']) {
    cpSync(join(root, part), join(modules, 'palimpsest', part), { recursive: true })
  }
  // What the package depends on lies where it is installed here.
  for (const name of readdirSync(join(root, 'node_modules'))) {
    const to = join(modules, name)
    if (!existsSync(to)) symlinkSync(join(root, 'node_modules', name), to)
  }
  const names = readdirSync(home).sort()
  check(
    `its package holds ${names.join(', ')}`,
    names.join() === 'LICENSE,package.json,palimpsest-cuda.so',
    packed.stdout + packed.stderr,
  )
  const { PALIMPSEST_CUDA: _, ...plain } = process.env
  const installed = look(folder, plain)
  check(
    'installed as a package it is found, opened, and says the same',
    installed.first !== undefined && JSON.stringify(installed.seen) === JSON.stringify(seen),
    installed.text,
  )
} finally {
  rmSync(folder, { recursive: true })
}
finish()
