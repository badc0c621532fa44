/** 'palimpsest/masks', 'palimpsest/adapt' and 'palimpsest/subspace'. */

import { join } from 'node:path'
import { Psmt } from '../../lib/adapt/index.js'
import { Generator, type Tensor } from '../../lib/index.js'
import * as k from '../../lib/masks/index.js'
import * as nn from '../../lib/nn/index.js'
import * as s from '../../lib/subspace/index.js'
import {
  bools,
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
const scores = x(() => t([2, 4]), { nan: 'scores|NaN', list: true })
const density = num(0.5, { low: 0, high: 1 })
const maskOf = () => k.Mask.fromTensor(bools([1, 0, 1, 1], [2, 2]))
const mask = thing(maskOf)
const shape = list(() => [2, 2], { bad: [-1, 0.5, 'text', null, NaN] })
const shapes = list(() => [[2, 2], [3]], { bad: [null, 'text', [0.5], [-1]], refused: [[]] })
const fisher = () => new k.DiagonalFisher([[2, 2], [3]])
const grads = () => [t([2, 2]), t([3])]
const model = () => new nn.Linear(3, 2)
const net = () => new nn.Sequential(new nn.Linear(4, 4), new nn.ReLU(), new nn.Linear(4, 4))
const batch = () => [{ inputs: t([2, 3]), targets: ints([0, 1]) }]

export const masks: Table = {
  topK: row(k.topK, {
    scores,
    options: options(
      {
        k: int(2, { optional: true, low: 0, high: 8 }),
        scope: word('tensor', { optional: true }),
        by: word('value', { optional: true }),
      },
      { required: true },
    ),
  }),
  'topK by density': row((a, d) => k.topK(a, { density: d }), { scores, density }),
  'topK of neither': row((o) => k.topK(t([4]), o), {
    options: value(() => ({ k: 1 }), { neither: {}, both: { k: 1, density: 0.5 } }, 'k'),
  }),
  nm: row(k.nm, {
    scores,
    n: int(2, { low: 0, high: 4 }),
    m: int(4, { low: 1, refused: [3] }),
    axis: int(1, { optional: true, low: -2, high: 1 }),
    options: options({ by: word('value', { optional: true }) }),
  }),
  random: row(k.random, { shape, density, seed: int(1, { optional: true, low: 0 }) }),
  erk: row(k.erk, { shapes, density }),
  uniform: row(k.uniform, { shapes, density }),
  sampleLabels: row(k.sampleLabels, { logits: x(() => t([2, 3]), { shapes: [[3]] }), generator }),
  packMasks: row(k.packMasks, {
    masks: value(() => ({ a: maskOf() }), {
      undefined,
      null: null,
      'a number': 7,
      'no masks': { a: 7 },
    }),
  }),
  unpackMasks: row(k.unpackMasks, {
    tensors: value(
      () => k.packMasks({ a: maskOf() }).tensors,
      {
        undefined,
        null: null,
        'a number': 7,
        'another type': { a: t([8]) },
        'too short': { a: t([1]).to('uint8') },
      },
      "tensors|mask|'a'",
    ),
    metadata: value(
      () => k.packMasks({ a: maskOf() }).metadata,
      { undefined, null: null, 'a number': 7, 'no shape': { 'mask:a': 'text' } },
      'metadata|mask',
    ),
  }),
  Mask: row((a, b) => new k.Mask(a, b), {
    shape,
    bits: value(
      () => new Uint8Array(8),
      {
        'a list': [1],
        'too short': new Uint8Array(1),
        'bits behind the end': new Uint8Array(8).fill(255),
      },
      'bits?',
    ),
  }),
  'Mask.at': row((i) => maskOf().at(i), { index: int(1, { low: 0, high: 3 }) }),
  ...Object.fromEntries(
    (['and', 'or', 'xor', 'andNot'] as const).map((name) => [
      `Mask.${name}`,
      row((a: k.Mask) => maskOf()[name](a), {
        'mask|other': {
          make: maskOf,
          wrong: [...mask.wrong, ['another shape', () => k.Mask.full([3]), 'shape|mask|tensor']],
        },
      }),
    ]),
  ),
  'Mask.equals': row((a) => maskOf().equals(a), { 'mask|other': mask }),
  'Mask.toTensor': row((dtype) => maskOf().toTensor(dtype), {
    'dtype|target': word('float32', { optional: true }),
  }),
  'Mask.apply': row((a) => maskOf().apply(a), { x: x(() => t([2, 2]), { shapes: [[3]] }) }),
  'Mask.applyInto': row((a) => maskOf().applyInto(a), { x: x(() => t([2, 2]), { shapes: [[3]] }) }),
  'Mask.fromTensor': row(k.Mask.fromTensor, { x: x(() => t([2, 2])) }),
  'Mask.full': row(k.Mask.full, { shape }),
  DiagonalFisher: row((like, o) => new k.DiagonalFisher(like, o), {
    like: list(grads, { bad: [null, 7, 'text', [0.5], [-1]], refused: [[]] }),
    options: options({ decay: num(0.9, { optional: true, low: 0, refused: [1] }) }),
  }),
  'DiagonalFisher.update': row((g) => fisher().update(g), {
    grads: list(grads, { bad: [null, 7, t([2]), t([3]).mul(NaN)], refused: [[]] }),
  }),
  'DiagonalFisher.extend': row((n, g) => fisher().extend(n, g), {
    next: {
      make: fisher,
      wrong: [...thing(fisher).wrong, ['other parameters', () => new k.DiagonalFisher([[9]])]],
    },
    gamma: num(0.5, { low: 0, high: 1 }),
  }),
  'DiagonalFisher.mask': row((o) => fisher().mask(o), {
    options: options({ density }, { required: true }),
  }),
  'DiagonalFisher.belowQuantile': row((q, o) => fisher().belowQuantile(q, o), {
    q: num(0.5, { low: 0, high: 1 }),
    scopeOf: word('global', { optional: true }),
  }),
  'DiagonalFisher.estimate': row(
    (m, b, o) => new k.DiagonalFisher(model().parameters()).estimate(m, b, o),
    {
      model: { make: model, wrong: [...thing(model).wrong, ['another model', net]] },
      batches: value(
        batch,
        {
          undefined,
          null: null,
          'a number': 7,
          'no batches': [7],
          'no tensors': [{ inputs: 7, targets: 7 }],
        },
        'batches|inputs|input',
      ),
      options: options({ labels: word('given', { optional: true }), generator }),
    },
  ),
}

export const adapt: Table = {
  Psmt: row((m, n, o) => new Psmt(m, n, o), {
    model: thing(model),
    newModel: {
      make: () => model,
      wrong: [
        ...thing(() => model).wrong,
        ['a function that gives another thing', () => () => 7],
        ['a function that gives another model', () => net, 'state|newModel'],
      ],
    },
    options: options({
      lr: num(0.1, { optional: true, low: 0 }),
      ema: num(0.9, { optional: true, low: 0, high: 1 }),
      lambda: num(1, { optional: true, low: 0 }),
      quantile: num(0.1, { optional: true, low: 0, high: 1 }),
      augment: thing(() => (a: Tensor) => a, { optional: true }),
      views: int(2, { optional: true, low: 1 }),
      confidence: num(0.9, { optional: true, low: 0, high: 1 }),
    }),
  }),
  'Psmt.measureSource': row((b) => new Psmt(model(), model).measureSource(b), {
    batches: value(
      () => [t([2, 3])],
      { undefined, null: null, 'a number': 7, 'no tensors': [7], 'other extents': [t([2, 4])] },
      'batches|input',
    ),
  }),
  'Psmt.adapt': row((i) => new Psmt(model(), model).adapt(i), {
    'inputs?': x(() => t([2, 3]), { shapes: [[2, 4], []], refused: ['int32'] }),
  }),
}

const matrix = (extents = [4, 2]) => x(() => t(extents), { shapes: [[4]], refused: ['int32'] })
const adapterOptions = {
  rank: int(2, { optional: true, low: 1, refused: [5] }),
  alpha: num(2, { optional: true, refused: [0, -1, Infinity] }),
  targets: value(() => ['0'], {
    'a number': 7,
    'an object': {},
    'no layer': ['nowhere'],
    'numbers inside': [7],
  }),
}
const folder = temporaryFolder()
s.saveAdapters(s.lora(net(), { rank: 2 }), folder)
const path = (valid: string) => ({ make: () => valid, wrong: text(() => valid).wrong })
const energies = value(() => [3, 2, 1], {
  undefined,
  null: null,
  'a number': 7,
  words: ['a'],
  NaN: [NaN],
})

export const subspace: Table = {
  lora: row(s.lora, {
    model: {
      make: net,
      wrong: [
        ...thing(net).wrong,
        ['a model without layers', () => new nn.ReLU(), 'targets|model'],
      ],
    },
    options: options({ ...adapterOptions, generator }),
  }),
  pissa: row(s.pissa, {
    model: {
      make: net,
      wrong: [
        ...thing(net).wrong,
        ['a model without layers', () => new nn.ReLU(), 'targets|model'],
      ],
    },
    options: options({
      ...adapterOptions,
      niter: int(2, { optional: true, low: 0 }),
      seed: int(1, { optional: true, low: 0 }),
    }),
  }),
  pissaStart: row(s.pissaStart, {
    weight: matrix([4, 4]),
    options: options(
      {
        rank: int(2, { low: 1, refused: [5] }),
        scale: num(1, { refused: [0, -1] }),
        niter: int(2, { optional: true, low: 0 }),
        seed: int(1, { optional: true, low: 0 }),
      },
      { required: true },
    ),
  }),
  attach: row(s.attach, {
    model: thing(net),
    method: text(() => 'lora'),
    options: options(adapterOptions),
    initialise: {
      make: () => (w: Tensor) => ({
        a: t([8, w.shape[1] as number]).slice(0, 0, 2),
        b: t([w.shape[0] as number, 2]),
      }),
      wrong: [
        ...thing(() => net).wrong,
        ['a function that gives nothing', () => () => undefined],
        ['other shapes', () => () => ({ a: t([3, 3]), b: t([3, 3]) })],
      ],
    },
  }),
  adaptable: row(s.adaptable, { model: thing(net), targets: adapterOptions.targets }),
  Adapter: row((a, b, scale) => new s.Adapter(a, b, scale, null), {
    a: matrix([2, 4]),
    b: matrix([4, 2]),
    scale: num(1),
  }),
  saveAdapters: row(s.saveAdapters, {
    adapters: thing(() => s.lora(net(), { rank: 2 })),
    folder: path(join(folder, 'saved')),
    options: options({}),
  }),
  loadAdapters: row(s.loadAdapters, {
    model: thing(net),
    folder: {
      make: () => folder,
      wrong: [...text(() => folder).wrong, ['a missing folder', () => join(folder, 'nowhere')]],
    },
  }),
  FrequentDirections: row((d, n) => new s.FrequentDirections(d, n), {
    dimension: int(3, { low: 1 }),
    size: int(2, { low: 1 }),
  }),
  'FrequentDirections.append': row((r) => new s.FrequentDirections(3, 2).append(r), {
    rows: x(() => t([2, 3]), { shapes: [[3], [2, 4]] }),
  }),
  'FrequentDirections.loadState': row((r) => new s.FrequentDirections(3, 2).loadState(r), {
    rows: x(() => t([2, 3]), { shapes: [[3], [2, 4]] }),
  }),
  countForEnergy: row(s.countForEnergy, {
    values: energies,
    threshold: num(0.9, { low: 0, high: 1 }),
    total: num(14, { low: 0 }),
    known: num(0, { optional: true, low: 0 }),
  }),
  extendBasis: row(s.extendBasis, {
    basis: x(() => t([4, 1]).div(t([4, 1]).norm()), { nullable: true, shapes: [[3, 1], [4]] }),
    matrix: matrix(),
    threshold: num(0.9, { low: 0, high: 1 }),
  }),
  withoutSpan: row(s.withoutSpan, {
    x: x(() => t([4, 2]), { refused: ['int32'] }),
    basis: x(() => t([4, 1]), { nullable: true, shapes: [[3, 1], [4]], refused: ['int32'] }),
  }),
  spectrum: row(s.spectrum, {
    features: x(() => t([4, 2]), { shapes: [[4], [0, 2]], finite: 'features|the matrix' }),
    options: options({}),
  }),
  rankMe: row(s.rankMe, { values: energies }),
  alphaReq: row(s.alphaReq, {
    values: energies,
    options: options({
      range: value(() => [1, 3], {
        'a number': 7,
        descending: [3, 1],
        words: ['a', 'b'],
        fractions: [0.5, 2],
        one: [1],
      }),
    }),
  }),
}
