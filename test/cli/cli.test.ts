import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { test } from 'tap'

const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url))
const run = (...args: string[]) => promisify(execFile)(process.execPath, [main, ...args])

test('doctor: one JSON document, everything works', async (t) => {
  const { stdout, stderr } = await run('doctor', '--json')
  const found = JSON.parse(stdout)
  t.ok(Object.values(found.checks).every(Boolean))
  t.ok(found.cpu.levels.length > 0)
  t.equal(stderr, '')
})

test('doctor at every level that this machine has', async (t) => {
  const { stdout } = await run('doctor', '--json')
  for (const level of JSON.parse(stdout).cpu.levels) {
    const found = await promisify(execFile)(process.execPath, [main, 'doctor', '--json'], {
      env: { ...process.env, PALIMPSEST_CPU_LEVEL: level },
    })
    const { cpu, checks } = JSON.parse(found.stdout)
    t.equal(cpu.level, level)
    t.ok(Object.values(checks).every(Boolean))
  }
})

test('compare-optimizers --quick: a table and a self-contained report', async (t) => {
  const folder = t.testdir()
  const out = join(folder, 'report.html')
  const { stdout, stderr } = await run('compare-optimizers', '--quick', '--out', out)
  t.match(stdout, /NorMuon/)
  t.equal(stderr, '', 'progress is silent without a terminal')
  const html = readFileSync(out, 'utf8')
  t.match(html, /<svg/)
  t.notMatch(html, /src=|href=/)
})

test('a loader that finds nothing says what was tried and how to build', async (t) => {
  const missing = promisify(execFile)(process.execPath, [main, 'doctor'], {
    env: { ...process.env, PALIMPSEST_BINARY: '/nowhere/palimpsest.node' },
  })
  await t.rejects(
    missing,
    /no Palimpsest engine fits[\s\S]*\/nowhere\/palimpsest.node[\s\S]*build-native/,
  )
})

test('bench: results as JSON, kept, compared and drawn; wrong words are refused', async (t) => {
  const folder = t.testdir()
  const [out, html] = [join(folder, 'bench.json'), join(folder, 'bench.html')]
  const args = ['bench', 'matmul f32 128x', '--quick', '--peers', '']
  const { stdout } = await run(...args, '--json', '--out', out, '--html', html)
  const [result] = JSON.parse(stdout).results
  t.ok(result.ms.median > 0 && result.error < 1e-6)
  t.same(JSON.parse(readFileSync(out, 'utf8')), JSON.parse(stdout))
  t.match(readFileSync(html, 'utf8'), /matmul f32 128x/)
  t.match((await run(...args, '--compare', out)).stdout, /faster/)
  await t.rejects(run('bench', 'no such row', '--peers', ''), /no row's name contains/)
  await t.rejects(run('bench', '--peers', 'abacus'), /expected some of torch/)
  await t.rejects(run(...args, '--compare', html), /FormatError: 'compare'/)
})

test('reproduce lists the systems and refuses unknown ones', async (t) => {
  t.ok(Array.isArray(JSON.parse((await run('reproduce', '--json')).stdout)))
  await t.rejects(run('reproduce', 'abacus'), /ArgumentError: expected one of/)
})

test('reproduce writes a page and a JSON document of what it prints', async (t) => {
  const out = t.testdir()
  const { stdout } = await run(
    'reproduce',
    'pissa',
    '--quick',
    '--seeds',
    '1',
    '--out',
    out,
    '--json',
  )
  const [result] = JSON.parse(stdout)
  t.equal(result.system, 'pissa')
  t.equal(result.quick, true)
  t.same(JSON.parse(readFileSync(join(out, 'pissa.json'), 'utf8')), result)
  t.match(readFileSync(join(out, 'pissa.html'), 'utf8'), /Verdict: [\s\S]*<svg/)
})
