/** The functions and classes of 'palimpsest/optim'. */

import { join } from 'node:path'
import * as nn from '../../lib/nn/index.js'
import * as o from '../../lib/optim/index.js'
import {
  int,
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

const params = () => [t([3, 2]), t([2, 4])]
const parameters = list(params, {
  bad: [
    null,
    7,
    'text',
    t([2, 2], 'int32'),
    { data: new Float64Array(4), shape: [2, 2] },
    { data: new Float32Array(3), shape: [2, 2] },
  ],
})
const matrices = list(params, { bad: [null, 7, 'text', t([2, 2], 'int32'), t([3])] })
const lr = num(0.1, { optional: true, low: 0, refused: [Infinity] })
const weightDecay = num(0.1, { optional: true, low: 0, refused: [Infinity] })
const unit = (valid = 0.9) => num(valid, { optional: true, low: 0, refused: [1, 2, Infinity] })
const betas = value(() => [0.9, 0.99], {
  'a number': 0.9,
  one: [0.9],
  words: ['a', 'b'],
  NaN: [NaN, 0.9],
  one1: [1, 0.9],
  negative: [-0.1, 0.9],
  'an object': {},
})
const eps = num(1e-8, { optional: true, low: 0, refused: [Infinity] })
const whole = {
  lr,
  nonFinite: word('skip', { optional: true }),
  maxGlobalGradNorm: num(1, { optional: true, low: 0, refused: [Infinity] }),
  maxGradNorm: num(1, { optional: true, low: 0, refused: [Infinity] }),
  stateDtype: word('float32', { optional: true }),
}
const muon = {
  ...whole,
  momentum: unit(),
  weightDecay,
  steps: int(5, { optional: true, low: 0 }),
  coefficients: word('muon', { optional: true }),
  normalization: word('aol', { optional: true }),
  compute: word('float32', { optional: true }),
  adjustLr: word('original', { optional: true }),
  momentumForm: word('ema', { optional: true }),
  eps: num(1e-7, { optional: true, low: 0, refused: [2] }),
  batchAxes: int(0, { optional: true, low: 0 }),
  outputAxis: word('first', { optional: true }),
}
const model = () =>
  new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 4), new nn.Linear(4, 2))
const named = value(() => ({ a: t([3, 2]), b: t([2]) }), {
  undefined,
  null: null,
  'a number': 7,
  'a string': 'text',
  'no tensors': { a: 7 },
  'nothing inside': { a: null },
})
const steps = (low = 0) => int(10, { low })
const factor = num(0.5, { optional: true, refused: [Infinity] })
const schedule = thing(() => o.constant())
const optimizer = () => new o.SGD(params(), { lr: 0.1, momentum: 0.9 })
const folder = temporaryFolder()
const path = join(folder, 'state.safetensors')
o.saveOptimizerState(path, optimizer().stateDict())
const kept = params()
const gradients = list(() => [t([3, 2]), t([2, 4])], {
  optional: true,
  bad: [7, 'text', t([3]), t([2, 4], 'int32'), { data: new Float32Array(3), shape: [2, 4] }],
  refused: [[], [t([3, 2])]],
})
const state = value(() => optimizer().stateDict(), {
  undefined,
  null: null,
  'a number': 7,
  'an empty object': {},
  "another rule's": () => new o.Lion(params()).stateDict(),
  'fewer parameters': () => new o.SGD([t([3, 2])]).stateDict(),
  'other shapes': () => {
    const other = new o.SGD([t([3]), t([2])], { momentum: 0.9 })
    other.step([t([3]), t([2])])
    return other.stateDict()
  },
})

export const optim: Table = {
  SGD: row((p, q) => new o.SGD(p, q), {
    params: parameters,
    options: options({
      ...whole,
      momentum: num(0.9, { optional: true, low: 0 }),
      dampening: num(0.1, { optional: true }),
      weightDecay,
    }),
  }),
  AdamW: row((p, q) => new o.AdamW(p, q), {
    params: parameters,
    options: options({ ...whole, betas, eps, weightDecay }),
  }),
  Lion: row((p, q) => new o.Lion(p, q), {
    params: parameters,
    options: options({ ...whole, betas, weightDecay }),
  }),
  Muon: row((p, q) => new o.Muon(p, q), { params: matrices, options: options(muon) }),
  NorMuon: row((p, q) => new o.NorMuon(p, q), {
    params: matrices,
    options: options({ ...muon, beta2: unit() }),
  }),
  Dion: row((p, q) => new o.Dion(p, q), {
    params: matrices,
    options: options({
      ...whole,
      rankFraction: num(0.5, { optional: true, refused: [0, -1, 2] }),
      momentum: unit(),
      weightDecay,
      eps: num(1e-8, { optional: true, refused: [0, 2] }),
      seed: int(0, { optional: true, low: 0 }),
      outputAxis: word('first', { optional: true }),
      batchAxes: int(0, { optional: true, low: 0 }),
    }),
  }),
  'Optimizer.step': row((grads) => new o.SGD(kept, { lr: 0 }).step(grads), { grads: gradients }),
  'Optimizer.stepAsync': row((q) => new o.SGD(kept, { lr: 0 }).stepAsync(q), {
    options: options({
      grads: gradients,
      signal: thing(() => new AbortController().signal, { optional: true }),
    }),
  }),
  'Optimizer.addParamGroup': row((group) => optimizer().addParamGroup(group), {
    group: value(
      () => ({ params: [t([2])] }),
      {
        undefined,
        null: null,
        'a number': 7,
        'no params': {},
        'wrong params': { params: [7] },
        'an unknown option': { params: [t([2])], abacus: 1 },
        'a wrong lr': { params: [t([2])], lr: -1 },
        'an unknown rule': { params: [t([2])], algorithm: 'abacus' },
      },
      'group|params|options|lr|algorithm',
    ),
  }),
  'Optimizer.setMask': row((parameter, mask) => optimizer().setMask(parameter, mask), {
    parameter: int(0, { low: 0, high: 1 }),
    mask: value(() => null, { 'a number': 7, 'an object': {}, 'a string': 'text' }, 'masks?'),
  }),
  'Optimizer.loadStateDict': row((s) => optimizer().loadStateDict(s), { state }),
  Scheduler: row((opt, s) => new o.Scheduler(opt, s), {
    optimizer: thing(optimizer),
    schedule: value(() => o.constant(), {
      undefined,
      null: null,
      'a number': 7,
      'a string': 'text',
      'a list of others': [7],
      'an object of others': { lr: 7 },
    }),
  }),
  'Scheduler.loadStateDict': row(
    (s) => new o.Scheduler(optimizer(), o.constant()).loadStateDict(s),
    {
      state: value(() => new o.Scheduler(optimizer(), o.constant()).stateDict(), {
        undefined,
        null: null,
        'a number': 7,
        'an empty object': {},
        'other values': { step: 'a', base: { lr: [1] } },
      }),
    },
  ),
  checkSchedule: row((s) => o.checkSchedule(s, 'schedule'), { schedule }),
  constant: row(o.constant, { factor }),
  linear: row(o.linear, { steps: steps(), options: options({ from: factor, to: factor }) }),
  cosine: row(o.cosine, { steps: steps(), options: options({ final: factor }) }),
  cosineRestarts: row(o.cosineRestarts, {
    steps: steps(1),
    options: options({
      factor: num(2, { optional: true, low: 1, refused: [Infinity] }),
      final: factor,
    }),
  }),
  polynomial: row(o.polynomial, {
    steps: steps(),
    options: options({ power: num(2, { optional: true, low: 0 }), final: factor }),
  }),
  exponential: row(o.exponential, {
    gamma: num(0.9, { low: 0, refused: [Infinity] }),
    options: options({ every: int(2, { optional: true, low: 1 }) }),
  }),
  milestones: row(o.milestones, {
    steps: list(() => [3, 6], { bad: ['a', NaN, 0.5, -1] }),
    options: options({ gamma: num(0.1, { optional: true, low: 0 }) }),
  }),
  inverseSqrt: row(o.inverseSqrt, { offset: int(10, { low: 1 }) }),
  warmup: row(o.warmup, {
    steps: steps(),
    // biome-ignore lint/suspicious/noThenProperty: the argument's name
    then: thing(() => o.constant(), { optional: true }),
    options: options({ from: factor }),
  }),
  warmupStableDecay: row(o.warmupStableDecay, {
    options: options(
      {
        warmup: int(1, { low: 0 }),
        stable: int(1, { low: 0 }),
        decay: int(1, { low: 0 }),
        final: factor,
        shape: word('linear', { optional: true }),
      },
      { required: true },
    ),
  }),
  oneCycle: row(o.oneCycle, {
    steps: steps(1),
    options: options({
      peak: num(0.3, { optional: true, low: 0, high: 1 }),
      from: factor,
      final: factor,
    }),
  }),
  sequence: row(o.sequence, {
    parts: list(() => [[o.constant(), 3], [o.constant()]], {
      bad: [7, null, [7]],
      refused: [[], [[o.constant(), -1], [o.constant()]]],
    }),
  }),
  times: row((s) => o.times(s), { 'schedules[0]': thing(() => o.constant()) }),
  muonGroups: row(o.muonGroups, {
    parameters: named,
    options: options({
      hidden: value(() => ({ lr: 0.1 }), { 'a number': 7 }),
      rest: value(() => ({ lr: 0.1 }), { 'a number': 7 }),
      toHidden: list(() => ['a'], { optional: true, bad: [7, null] }),
      toRest: list(() => ['b'], { optional: true, bad: [7, null] }),
      isHidden: thing(() => () => undefined, { optional: true }),
    }),
  }),
  layerwiseWeightDecay: row(o.layerwiseWeightDecay, {
    parameters: named,
    options: options(
      {
        width: num(256, { refused: [0, -1, Infinity] }),
        baseWidth: num(128, { refused: [0, -1, Infinity] }),
        lr: num(0.1, { low: 0, refused: [Infinity] }),
        weightDecay: num(0.1, { low: 0, refused: [Infinity] }),
        isMatrix: thing(() => () => true, { optional: true }),
      },
      { required: true },
    ),
  }),
  topSingularValue: row(o.topSingularValue, {
    x: x(() => t([3, 2]), { shapes: [[3], []] }),
    options: options({
      tolerance: num(1e-3, { optional: true, low: 0 }),
      maxIterations: int(10, { optional: true, low: 1 }),
    }),
  }),
  topSingularValues: row(o.topSingularValues, {
    parameters: value(model, {
      undefined,
      null: null,
      'a number': 7,
      'a string': 'text',
      'no tensors': { a: 7 },
    }),
  }),
  saveOptimizerState: row(o.saveOptimizerState, {
    path: text(() => join(folder, 'saved.safetensors')),
    state: value(() => optimizer().stateDict(), {
      undefined,
      null: null,
      'a number': 7,
      'an empty object': {},
    }),
  }),
  loadOptimizerState: row(o.loadOptimizerState, {
    path: {
      ...text(() => path),
      wrong: [...text(() => path).wrong, ['a missing file', () => join(folder, 'nowhere')]],
    },
  }),
}
