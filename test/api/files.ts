/** 'palimpsest/data', 'palimpsest/io' and 'palimpsest/merge'. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as d from '../../lib/data/index.js'
import { Generator } from '../../lib/index.js'
import * as f from '../../lib/io/index.js'
import * as g from '../../lib/merge/index.js'
import { examples, nothing } from './data.js'
import {
  int,
  ints,
  list,
  num,
  options,
  row,
  type Table,
  t,
  temporaryFolder,
  text,
  thing,
  value,
  word,
  x,
} from './derive.js'

const generator = thing(() => new Generator(1), { optional: true })
const some = () => examples(9)
const notData = {
  ...nothing,
  'other arrays': { inputs: [1], labels: [1], shape: [1] },
  'another length': { ...some(), inputs: new Float32Array(5) },
  'no shape': { ...some(), shape: 7 },
}
const data = value(some, notData, 'data|inputs')
const batchOf = (): d.Batch => ({ inputs: t([2, 9]), targets: ints([0, 1]) })
const windows = () => new d.TokenWindows(Int32Array.of(1, 2, 3, 4, 5), 2)
const rows = {
  make: () => Int32Array.of(0, 1),
  wrong: value(() => 0, {
    'a number': 7,
    null: null,
    undefined,
    'too far': Int32Array.of(9),
    negative: Int32Array.of(-1),
  }).wrong,
}
const transform = (make: () => d.Transform<d.Batch>) =>
  row((b) => make()(b, new Generator(1)), {
    batch: value(
      batchOf,
      { undefined, null: null, 'a number': 7, 'no inputs': {}, 'other inputs': { inputs: 7 } },
      'batch|inputs|input',
    ),
  })
const char = () => new d.CharTokenizer('abc')
const pairs = () => d.BytePairTokenizer.train('abab abab', 258)
const tokens = (make: () => number[]) =>
  value(make, {
    undefined,
    null: null,
    'a number': 7,
    'no token': [9999],
    negative: [-1],
    words: ['a'],
  })

export const dataTable: Table = {
  corrupt: row(d.corrupt, {
    data,
    kind: word('noise'),
    severity: int(3, { optional: true, low: 1, high: 5 }),
    seed: int(1, { optional: true, low: 0 }),
  }),
  subset: row(d.subset, {
    data,
    indices: value(() => [0, 1], {
      undefined,
      null: null,
      'a number': 7,
      'too far': [9],
      negative: [-1],
      fractions: [0.5],
    }),
  }),
  batches: row((a, o) => [...d.batches(a, o)], {
    data,
    options: options({ batchSize: int(2, { low: 1 }), generator }, { required: true }),
  }),
  digits: row(d.digits, {
    options: options({
      testSize: int(2000, { optional: true, low: 0, high: 10000 }),
      seed: int(1, { optional: true, low: 0 }),
    }),
  }),
  DataLoader: row((a, o) => [...new d.DataLoader(a, o)], {
    data,
    options: options(
      {
        batchSize: int(2, { low: 1 }),
        seed: int(1, { optional: true, low: 0 }),
        transforms: list(() => [], { optional: true, bad: [7, null] }),
      },
      { required: true },
    ),
  }),
  'DataLoader.loadStateDict': row(
    (s) => new d.DataLoader(some(), { batchSize: 2 }).loadStateDict(s),
    {
      state: value(() => new d.DataLoader(some(), { batchSize: 2 }).stateDict(), {
        undefined,
        null: null,
        'a number': 7,
        'an empty object': {},
        'a place behind the end': { epoch: 0, batch: 9, seed: 0 },
      }),
    },
  ),
  TokenWindows: row((a, c, s) => new d.TokenWindows(a, c, s), {
    tokens: value(() => Int32Array.of(1, 2, 3), {
      undefined,
      null: null,
      'a number': 7,
      'a list': [1, 2, 3],
    }),
    context: int(2, { low: 1 }),
    stride: int(1, { optional: true, low: 1 }),
  }),
  'TokenWindows.batch': row((i) => windows().batch(i), { indices: rows }),
  CharTokenizer: row((a) => new d.CharTokenizer(a), {
    text: value(() => 'abc', {
      undefined,
      null: null,
      'a number': 7,
      'an object': {},
      'numbers inside': [7],
    }),
  }),
  'CharTokenizer.encode': row((a) => char().encode(a), {
    text: {
      make: () => 'abc',
      wrong: [...text(() => 'abc').wrong, ['an unknown character', () => 'xyz']],
    },
  }),
  'CharTokenizer.decode': row((a) => char().decode(a), { tokens: tokens(() => [0, 1]) }),
  BytePairTokenizer: row((a) => new d.BytePairTokenizer(a), {
    merges: list(() => [[97, 98]], { bad: [null, 7, [1], ['a', 'b'], [9999, 1], [-1, 1]] }),
  }),
  'BytePairTokenizer.train': row(d.BytePairTokenizer.train, {
    text: text(() => 'abab'),
    vocabulary: int(257, { low: 256 }),
  }),
  'BytePairTokenizer.encode': row((a) => pairs().encode(a), { text: text(() => 'abc') }),
  'BytePairTokenizer.decode': row((a) => pairs().decode(a), { tokens: tokens(() => [97, 98]) }),
  normalize: row(d.normalize, { mean: num(0), deviation: num(1, { refused: [0, -1] }) }),
  gaussianNoise: row(d.gaussianNoise, { deviation: num(1, { low: 0 }) }),
  permutePixels: row(d.permutePixels, { seed: int(1, { low: 0 }) }),
  randomFlip: row(d.randomFlip, { probability: num(0.5, { optional: true, low: 0, high: 1 }) }),
  randomShift: row(d.randomShift, { most: int(2, { low: 0 }), value: num(0, { optional: true }) }),
  shaped: row((a, b) => d.shaped(a, b), {
    shape: int(3, { low: 0 }),
    'shape ': { make: () => 3, wrong: [] },
  }),
  'normalize()': transform(() => d.normalize(0, 1)),
  'gaussianNoise()': transform(() => d.gaussianNoise(1)),
  'permutePixels()': transform(() => d.permutePixels(1)),
  'randomFlip()': transform(() => d.randomFlip()),
  'randomShift()': transform(() => d.randomShift(1)),
  'shaped()': transform(() => d.shaped(3, 3)),
}

const folder = temporaryFolder()
const file = join(folder, 'tensors.safetensors')
f.saveSafetensors(file, { a: t([2, 3]) })
const stateFile = join(folder, 'state.safetensors')
f.saveState(stateFile, { a: 1 })
const checkpointFile = join(folder, 'checkpoint.safetensors')
f.saveCheckpoint(checkpointFile, { generator: new Generator(1), step: 1 })
const broken = join(folder, 'broken')
writeFileSync(broken, 'no safetensors')
const reading = (path: string) => ({
  make: () => path,
  wrong: [
    ...text(() => path).wrong,
    ['an empty path', () => ''] as never,
    ['a missing file', () => join(folder, 'nowhere')] as never,
    ['another file', () => broken, '.*'] as never,
  ],
})
const out = join(folder, 'out.safetensors')
const writing = {
  make: () => out,
  wrong: [
    ...text(() => out).wrong,
    ['an empty path', () => ''] as never,
    ['a missing folder', () => join(folder, 'nowhere', 'x')] as never,
  ],
}
const tensors = value(
  () => ({ a: t([2]) }),
  {
    undefined,
    null: null,
    'a number': 7,
    'no tensors': { a: 7 },
    'a disposed tensor': () => {
      const a = t([2])
      a.dispose()
      return { a }
    },
  },
  "tensors|'?a'?",
)
const metadata = value(
  () => ({ key: 'text' }),
  { 'a number': 7, 'no texts': { key: 7 } },
  'metadata',
)

export const io: Table = {
  openSafetensors: row((a, o) => f.openSafetensors(a, o).close(), {
    path: reading(file),
    options: options({}),
  }),
  SafetensorsFile: row((a, o) => new f.SafetensorsFile(a, o).close(), {
    path: reading(file),
    options: options({}),
  }),
  'SafetensorsFile.info': row((name) => f.openSafetensors(file).info(name), { name: word('a') }),
  'SafetensorsFile.read': row((name, o) => f.openSafetensors(file).read(name, o), {
    name: word('a'),
    options: options({
      rows: value(() => [0, 1], {
        'a number': 7,
        'too far': [0, 9],
        descending: [1, 0],
        words: ['a', 'b'],
        one: [0],
      }),
    }),
  }),
  'SafetensorsFile.readBytes': row((name) => f.openSafetensors(file).readBytes(name), {
    name: word('a'),
  }),
  loadSafetensors: row(f.loadSafetensors, { path: reading(file) }),
  saveSafetensors: row(f.saveSafetensors, { path: writing, tensors, metadata }),
  SafetensorsWriter: row((a, b, c) => new f.SafetensorsWriter(a, b, c).abort(), {
    path: writing,
    announced: value(
      () => ({ a: { shape: [2] } }),
      {
        undefined,
        null: null,
        'a number': 7,
        'no shapes': { a: 7 },
        'nothing inside': { a: null },
        'a wrong shape': { a: { shape: [-1] } },
        'a wrong dtype': { a: { shape: [1], dtype: 'abacus' } },
        'a reserved name': { __metadata__: { shape: [1] } },
      },
      'announced|__metadata__',
    ),
    metadata,
  }),
  'SafetensorsWriter.write': row(
    (name, a, start) => {
      using w = new f.SafetensorsWriter(out, { a: { shape: [2, 3] } })
      w.write(name, a, start)
    },
    {
      name: word('a'),
      'value|a': x(() => t([1, 3]), { shapes: [[2]], refused: ['int32'] }),
      start: int(0, { optional: true, low: 0, high: 1 }),
    },
  ),
  saveState: row(f.saveState, {
    path: writing,
    state: value(() => ({ a: 1 }), {
      'a function': () => () => 1,
      'a function inside': { a: () => 1 },
      'a symbol': () => Symbol('a'),
      'the name $': { $: 1 },
    }),
  }),
  loadState: row(f.loadState, { path: reading(stateFile) }),
  saveCheckpoint: row(f.saveCheckpoint, {
    path: writing,
    parts: value(
      () => ({ step: 1 }),
      { undefined, null: null, 'a number': 7, 'a function inside': { a: () => 1 } },
      'parts|state|step',
    ),
  }),
  loadCheckpoint: row(f.loadCheckpoint, {
    path: reading(checkpointFile),
    parts: value(
      () => ({ generator: new Generator(2) }),
      {
        null: null,
        'a number': 7,
        'no part': { generator: 7 },
        'an unknown part': { abacus: new Generator(1) },
      },
      'parts|abacus',
    ),
  }),
}

const inputs = [
  join(folder, 'm1.safetensors'),
  join(folder, 'm2.safetensors'),
  join(folder, 'base.safetensors'),
] as const
inputs.forEach((path, i) => {
  f.saveSafetensors(path, { w: t([3, 3]).mul(i + 1) })
})
const other = join(folder, 'other.safetensors')
f.saveSafetensors(other, { v: t([2]) })
const merged = join(folder, 'merged.safetensors')
const scale = num(0.5, { optional: true, refused: [Infinity] })
const task = () => x(() => t([3, 3]), { shapes: [[3], [2, 3]], refused: ['int32'] })

export const merge: Table = {
  taskArithmetic: row(g.taskArithmetic, { options: options({ scale }) }),
  ties: row(g.ties, {
    options: options({ scale, density: num(0.5, { optional: true, refused: [0, -1, 2] }) }),
  }),
  opcm: row(g.opcm, {
    options: options({
      alpha: num(0.5, { optional: true, low: 0, high: 1 }),
      linear: thing(() => () => true, { optional: true }),
    }),
  }),
  projectedTask: row(g.projectedTask, {
    merged: task(),
    task: task(),
    alpha: num(0.5, { low: 0, high: 1 }),
  }),
  mergeCheckpoints: row(g.mergeCheckpoints, {
    options: options(
      {
        models: {
          ...list(() => inputs.slice(0, 2), { bad: [null, 7], refused: [[]] }),
          wrong: [
            ...list(() => inputs.slice(0, 2), { bad: [null, 7], refused: [[]] }).wrong,
            ['a missing file', () => [join(folder, 'nowhere')], 'models|path'],
            ['another file', () => [broken], '.*'],
            ['other tensors', () => [inputs[0], other], '.*'],
          ],
        },
        base: {
          make: () => inputs[2],
          wrong: [
            ['undefined', () => undefined],
            ['a number', () => 7],
            ['a missing file', () => join(folder, 'nowhere'), 'base|path'],
          ],
        },
        out: {
          make: () => merged,
          wrong: [
            ...text(() => merged).wrong,
            ['one of the inputs', () => inputs[0], 'out|output'],
            ['a missing folder', () => join(folder, 'nowhere', 'x'), 'out|path'],
          ],
        },
        method: value(() => g.taskArithmetic(), {
          undefined,
          null: null,
          'a number': 7,
          'a string': 'ties',
          'an empty object': {},
        }),
        progress: thing(() => () => undefined, { optional: true }),
        signal: thing(() => new AbortController().signal, { optional: true }),
      },
      { required: true },
    ),
  }),
}
