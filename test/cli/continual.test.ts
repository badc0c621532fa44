import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { test } from 'tap'

const main = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url))
const run = (...args: string[]) =>
  promisify(execFile)(process.execPath, [main, 'continual', ...args])
const few = ['--tasks', '2', '--train', '200', '--test', '100']

test('run: one JSON document, which a resumed run repeats', async (t) => {
  const folder = t.testdir()
  const args = [
    'run',
    '--strategy',
    'er',
    ...few,
    '--json',
    '--set',
    'er.memory=50',
    '--checkpoint',
    folder,
  ]
  const first = await run(...args)
  t.equal(first.stderr, '', 'progress is silent without a terminal')
  const document = JSON.parse(first.stdout)
  t.equal(document.results[0].method, 'er')
  t.equal(document.results[0].options.er.memory, 50)
  t.equal(document.results[0].matrix.length, 2)
  t.equal(readdirSync(folder).length, 1)
  t.strictSame(
    JSON.parse((await run(...args)).stdout).results[0].matrix,
    document.results[0].matrix,
  )
})

test('compare: a table, matrices and a self-contained report', async (t) => {
  const folder = t.testdir()
  const out = join(folder, 'report.html')
  const { stdout } = await run(
    'compare',
    '--strategies',
    'naive,refresh+ewc',
    '--scenario',
    'split-class',
    '--seeds',
    '2',
    ...few,
    '--out',
    out,
  )
  t.match(stdout, /naive .* ± .*\n *refresh\+ewc/)
  t.match(stdout, /after +2 +\d+ +\d+/)
  const html = readFileSync(out, 'utf8')
  t.match(html, /<svg/)
  t.notMatch(html, /src=|href=/)
})

test('demo --quick: two streams, five methods, a self-contained report', async (t) => {
  const folder = t.testdir()
  const out = join(folder, 'report.html')
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    main,
    'demo',
    '--quick',
    '--out',
    out,
  ])
  t.equal(stderr, '')
  t.match(stdout, /Permuted digits[\s\S]*naive[\s\S]*der\+\+[\s\S]*Two new digits/)
  t.match(stdout, /The first task, \d+ % right when it was learned/)
  const html = readFileSync(out, 'utf8')
  t.equal(html.match(/<figure>/g)?.length, 14)
  t.notMatch(html, /src=|href=/)
})

test('wrong arguments end with status 1 and name what is wrong', async (t) => {
  const fails = (message: RegExp, ...args: string[]) =>
    t.rejects(run(...args), { code: 1, stderr: message })
  await fails(/'strategy' but got "none"/, 'run', '--strategy', 'none')
  await fails(/'scenario' but got "none"/, 'run', '--strategy', 'er', '--scenario', 'none')
  await fails(/no option 'size'/, 'run', '--strategy', 'er', '--set', 'er.size=1')
  await fails(/'set'/, 'run', '--strategy', 'er', '--set', 'ewc.lambda=1')
  await fails(/'seeds'/, 'run', '--strategy', 'er', '--seeds', '0')
  await fails(/'optimizer'/, 'run', '--strategy', 'er', '--optimizer', 'none')
})
