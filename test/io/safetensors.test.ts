import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'tap'
import { ArgumentError, DisposedError, FormatError, tensor } from '../../lib/index.js'
import { loadSafetensors, openSafetensors, saveSafetensors } from '../../lib/io/index.js'

const folder = mkdtempSync(join(tmpdir(), 'palimpsest-'))
const path = (name: string) => join(folder, name)
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const sample = {
  a: tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]).T,
  b: tensor([1.5, -2], { dtype: 'float64' }),
  c: tensor([1, 0, 1], { dtype: 'bool' }),
  d: tensor([3, -4], { dtype: 'int32' }),
  e: tensor([0.5, 2], { dtype: 'bfloat16' }),
  empty: tensor([]),
  scalar: tensor(7),
}

test('all dtypes come back, read or mapped', async (t) => {
  saveSafetensors(path('all'), sample, { note: 'hello' })
  const back = loadSafetensors(path('all'))
  const mapped = openSafetensors(path('all'), { map: true })
  t.equal(mapped.metadata['note'], 'hello')
  for (const [name, x] of Object.entries(sample)) {
    for (const y of [back[name] as typeof x, mapped.read(name)]) {
      t.equal(y.dtype, x.dtype)
      t.same(y.toArray(), x.toArray())
    }
  }
  mapped.read('d').fill_(0)
  t.same(
    loadSafetensors(path('all'))['d']?.toArray(),
    [3, -4],
    'writing to a mapped tensor leaves the file',
  )
  t.throws(() => mapped.read('nothing'), ArgumentError)
  mapped.close()
  t.throws(() => mapped.read('a'), DisposedError)
})

test('a failed write leaves the old file and no other', async (t) => {
  saveSafetensors(path('kept'), { x: tensor([1]) })
  const broken = tensor([2, 3])
  broken.dispose()
  t.throws(() => saveSafetensors(path('kept'), { x: broken }), DisposedError)
  t.same(loadSafetensors(path('kept'))['x']?.toArray(), [1])
  t.same(
    readdirSync(folder).filter((name) => name.includes('tmp')),
    [],
  )
})

test('hostile and truncated files give FormatError', async (t) => {
  const write = (json: string, data = 0, length = json.length) => {
    const bytes = new Uint8Array(8 + json.length + data)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
    bytes.set(new TextEncoder().encode(json), 8)
    writeFileSync(path('bad'), bytes)
  }
  const entry = (over: object) =>
    JSON.stringify({ x: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...over } })
  const cases: [string, number, number?][] = [
    ['', 0],
    ['{', 0],
    ['[]', 0],
    ['null', 0],
    ['{}', 0, 2 ** 50],
    ['{}', 4],
    [entry({}), 7],
    [entry({}), 9],
    [entry({ dtype: 'F99' }), 8],
    [entry({ shape: [-2] }), 8],
    [entry({ shape: [1e200, 1e200] }), 8],
    [entry({ shape: [3] }), 8],
    [entry({ data_offsets: [8, 0] }), 8],
    [entry({ data_offsets: [0, 1e18] }), 8],
    [entry({ data_offsets: [4, 12] }), 12],
    ['{"__metadata__":{"a":1}}', 0],
  ]
  for (const [json, data, length] of cases) {
    write(json, data, length)
    t.throws(() => loadSafetensors(path('bad')), FormatError, json)
  }
})

test('property: whatever bytes change, reading gives tensors or FormatError', async () => {
  saveSafetensors(path('fuzz'), sample)
  const good = readFileSync(path('fuzz'))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(good.length),
      (changes, cut) => {
        const bytes = Uint8Array.from(good)
        for (const [at, value] of changes) bytes[at] = value
        writeFileSync(path('fuzzed'), changes.length % 2 ? bytes.subarray(0, cut) : bytes)
        try {
          loadSafetensors(path('fuzzed'))
          return true
        } catch (error) {
          return error instanceof FormatError || (error as Error).name === 'DTypeError'
        }
      },
    ),
    { numRuns: 300 },
  )
})
