import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  FormatError,
  ShapeError,
  type Tensor,
  tensor,
} from '../../lib/index.js'
import {
  loadSafetensors,
  openSafetensors,
  SafetensorsWriter,
  saveSafetensors,
} from '../../lib/io/index.js'
import { fuzz } from './fuzz.js'

const folder = tap.testdir()
const path = (name: string) => join(folder, name)

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

test('the fuzzer finds nothing in two seconds (test/io/fuzz.ts runs longer)', async (t) => {
  const outcomes = fuzz(performance.now() + 2000, 7, 3000)
  t.ok((outcomes['FormatError'] ?? 0) > 20, JSON.stringify(outcomes))
  t.ok((outcomes['read'] ?? 0) > 0)
})

test('types that Tensor does not hold come as the nearest, or give FormatError', async (t) => {
  const read = (type: string, bytes: number[], width: number) => {
    const json = JSON.stringify({
      x: { dtype: type, shape: [bytes.length / width], data_offsets: [0, bytes.length] },
    })
    const file = new Uint8Array(8 + json.length + bytes.length)
    new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
    file.set(new TextEncoder().encode(json), 8)
    file.set(bytes, 8 + json.length)
    writeFileSync(path('foreign'), file)
    return loadSafetensors(path('foreign'))['x'] as Tensor
  }
  const half = read('F16', [0, 0x3c, 0, 0xc0, 1, 0, 0, 0x7c, 0xff, 0x7b, 0, 0xfe], 2)
  t.equal(half.dtype, 'float32')
  t.same(half.toArray(), [1, -2, 2 ** -24, Infinity, 65504, NaN])
  t.same(read('F8_E4M3', [0x38, 0xfe, 0x01, 0x7f], 1).toArray(), [1, -448, 2 ** -9, NaN])
  t.same(read('F8_E5M2', [0x3c, 0xfc, 0x01, 0x7b], 1).toArray(), [1, -Infinity, 2 ** -16, 57344])
  t.same(read('I8', [255, 5], 1).toArray(), [-1, 5])
  t.same(read('I16', [255, 255, 1, 1], 2).toArray(), [-1, 257])
  t.same(read('U16', [255, 255], 2).toArray(), [65535])
  const minus = Array(8).fill(255)
  t.same(read('I64', [...minus, 7, 0, 0, 0, 0, 0, 0, 0], 8).toArray(), [-1, 7])
  t.throws(() => read('U64', minus, 8), FormatError)
  t.throws(() => read('U32', [255, 255, 255, 255], 4), FormatError)
  using file = openSafetensors(path('foreign'))
  t.same([...file.readBytes('x')], [255, 255, 255, 255])
})

test('parts of tensors: read by rows, written by rows, whole or not at all', async (t) => {
  const x = tensor([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  {
    using writer = new SafetensorsWriter(
      path('parts'),
      { x: { shape: [3, 2] }, n: { shape: [], dtype: 'int32' } },
      { made: 'in parts' },
    )
    writer.write('n', tensor(7, { dtype: 'int32' }))
    writer.write('x', x.slice(0, 2), 2)
    writer.write('x', x.slice(0, 0, 2), 0)
    writer.close()
  }
  using file = openSafetensors(path('parts'))
  t.same(file.read('x').toArray(), x.toArray())
  t.same(file.read('x', { rows: [1, 3] }).toArray(), x.slice(0, 1).toArray())
  t.same(file.read('x', { rows: [1, 1] }).shape, [0, 2])
  t.throws(() => file.read('x', { rows: [2, 4] }), ArgumentError)
  t.throws(() => file.read('n', { rows: [0, 1] }), ShapeError)
  const make = () => new SafetensorsWriter(path('parts'), { x: { shape: [3, 2] } })
  const cases: [(w: SafetensorsWriter) => void, new (...a: never[]) => Error][] = [
    [(w) => w.close(), ArgumentError],
    [(w) => w.write('y', x), ArgumentError],
    [(w) => w.write('x', x.T), ShapeError],
    [(w) => w.write('x', x, 1), ArgumentError],
    [(w) => w.write('x', x.to('float64')), DTypeError],
    [
      (w) => {
        w.write('x', x)
        w.write('x', x)
      },
      ArgumentError,
    ],
    [
      (w) => {
        w.abort()
        w.write('x', x)
      },
      DisposedError,
    ],
  ]
  for (const [run, Expected] of cases) {
    using writer = make()
    t.throws(() => run(writer), Expected, String(run))
  }
  t.throws(
    () => new SafetensorsWriter(path('parts'), { __metadata__: { shape: [] } }),
    ArgumentError,
  )
  t.same(loadSafetensors(path('parts'))['n']?.item(), 7, 'the old file is there')
  t.same(
    readdirSync(folder).filter((name) => name.includes('tmp')),
    [],
  )
})
