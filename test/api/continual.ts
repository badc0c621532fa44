/** 'palimpsest/continual'. */

import { join } from 'node:path'
import * as c from '../../lib/continual/index.js'
import { Generator, type Tensor } from '../../lib/index.js'
import { saveState } from '../../lib/io/index.js'
import * as nn from '../../lib/nn/index.js'
import { examples, nothing } from './data.js'
import {
  type Argument,
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

const generator = thing(() => new Generator(1))
const some = () => examples(4)
const both = (): c.Split => ({ train: some(), test: some() })
const noData = {
  ...nothing,
  'no data sets': { train: 7, test: 7 },
}
const data = value(both, noData, 'data|train')
const setting = word('domain', { optional: true })
const seed = int(1, { optional: true, low: 0 })
const tasks = int(2, { optional: true, low: 1 })
const stream = () => c.permuted(both(), { tasks: 2 })
const scenario = thing(stream)
const model = (s: c.Scenario) => c.mlp(s, [3])
const trainer = (strategies: c.Strategy[] = []) =>
  new c.Trainer({ scenario: stream(), model: model(stream()), strategies, batchSize: 2 })
const inTraining = () => {
  const { context } = trainer()
  context.generator = new Generator(1)
  context.trainData = some()
  return context
}
const context: Argument = thing(inTraining)
const weight = (valid = 1) => num(valid, { optional: true, low: 0 })
const share = (valid = 0.5) => num(valid, { optional: true, low: 0, high: 1 })
const memory = {
  memory: int(4, { optional: true, low: 1 }),
  replay: int(2, { optional: true, low: 1 }),
}
const importance = {
  samples: int(4, { optional: true, low: 1 }),
  batchSize: int(1, { optional: true, low: 1 }),
}
const fisher = { ...importance, labels: word('given', { optional: true }) }
const temperature = num(2, { optional: true, refused: [0, -1] })
// biome-ignore lint/suspicious/noExplicitAny: any strategy's constructor
const strategy = (Class: new (o: any) => c.Strategy, fields: Record<string, Argument>) =>
  row((o) => new Class(o), { options: options(fields) })
const matrix = value(
  () => [
    [0.9, 0.1],
    [0.8, 0.9],
  ],
  {
    undefined,
    null: null,
    'a number': 7,
    empty: [],
    'no rows': [7],
    words: [
      ['a', 'b'],
      ['a', 'b'],
    ],
    'a hole': [
      [0.9, 0.1],
      [null, 0.9],
    ],
  },
)
const parameters = list(() => [t([2])], { bad: [null, 7] })
const folder = temporaryFolder()
const stateFile = join(folder, 'state')
saveState(stateFile, { a: 1 })
const runFile = join(folder, 'run')
trainer().save(runFile)
const study = {
  scenario: thing(() => stream),
  model: thing(() => model),
  methods: list(() => [{ name: 'naive', strategies: () => [] }], {
    bad: [null, 7, {}],
    refused: [[]],
  }),
  seeds: list(() => [1], { bad: ['a', 0.5, -1], refused: [[]] }),
  epochs: int(1, { optional: true, low: 1 }),
  batchSize: int(2, { optional: true, low: 1 }),
}

export const continual: Table = {
  Er: strategy(c.Er, memory),
  DerPlusPlus: strategy(c.DerPlusPlus, { ...memory, alpha: weight(), beta: weight() }),
  AGem: strategy(c.AGem, memory),
  Lwf: strategy(c.Lwf, { lambda: weight(), temperature }),
  Ewc: strategy(c.Ewc, { lambda: weight(), ...fisher }),
  OnlineEwc: strategy(c.OnlineEwc, { lambda: weight(), gamma: share(), ...fisher }),
  L2: strategy(c.L2, { lambda: weight(), include: thing(() => () => true, { optional: true }) }),
  Si: strategy(c.Si, { c: weight(), xi: num(0.1, { optional: true, refused: [0, -1] }) }),
  Mas: strategy(c.Mas, { lambda: weight(), ...importance }),
  PredKd: strategy(c.PredKd, {
    lambda: weight(),
    temperature,
    kind: word('softmax', { optional: true }),
  }),
  FeatKd: strategy(c.FeatKd, { lambda: weight() }),
  Gpm: strategy(c.Gpm, {
    threshold: share(),
    increment: share(),
    samples: int(3, { optional: true, low: 1 }),
  }),
  CoSO: strategy(c.CoSO, {
    rank: int(2, { optional: true, low: 1 }),
    every: int(2, { optional: true, low: 1 }),
    sketch: int(2, { optional: true, low: 1 }),
    threshold: share(),
    betas: value(() => [0.9, 0.99], {
      'a number': 0.9,
      one: [0.9],
      words: ['a', 'b'],
      'an object': {},
    }),
    eps: weight(),
  }),
  Refresh: strategy(c.Refresh, {
    rate: weight(),
    steps: int(1, { optional: true, low: 1 }),
    noise: weight(),
    damping: weight(),
    decay: share(),
    ...fisher,
  }),
  Dst: strategy(c.Dst, {
    density: num(0.5, { optional: true, refused: [0, -1, 2] }),
    allocation: word('erk', { optional: true }),
    growth: word('random', { optional: true }),
    updateEvery: int(2, { optional: true, low: 1 }),
    dropFraction: share(),
    finalDropFraction: share(),
  }),
  split: row(c.split, {
    data,
    options: options({ tasks: int(2, { optional: true, low: 1, refused: [3] }), setting, seed }),
  }),
  permuted: row(c.permuted, { data, options: options({ tasks, setting, seed }) }),
  rotated: row(c.rotated, {
    data,
    options: options({
      tasks,
      setting,
      angles: list(() => [0, 10], { optional: true, bad: ['a', NaN, 999] }),
    }),
  }),
  transformed: row(c.transformed, {
    name: text(() => 'name'),
    data,
    setting: word('domain'),
    transforms: list(() => [{ name: 'a', apply: (d: typeof some) => d }], { bad: [null, 7, {}] }),
  }),
  scenarioOf: row(c.scenarioOf, {
    name: text(() => 'name'),
    setting: word('domain'),
    parts: list(() => [{ name: 'a', classes: 2, train: some, test: some }], {
      bad: [
        null,
        7,
        {},
        { name: 'a', classes: 0, train: some, test: some },
        { name: 'a', classes: 2 },
      ],
      refused: [[]],
    }),
    shape: list(() => [2, 2], { bad: [-1, 0.5, 'a'] }),
  }),
  scenarioNamed: row(c.scenarioNamed, {
    'scenario|name': word('permuted'),
    data,
    options: options(
      { tasks: int(2, { low: 1 }), seed: int(1, { optional: true, low: 0 }) },
      { required: true },
    ),
  }),
  strategiesNamed: row(c.strategiesNamed, {
    'strategy|name': { make: () => 'er+ewc', wrong: word('er').wrong },
    settings: value(
      () => ({ 'er.memory': 2 }),
      {
        'a number': 7,
        'an unknown option': { 'er.abacus': 1 },
        'a wrong value': { 'er.memory': -1 },
      },
      'settings|er|memory',
    ),
  }),
  online: row(c.online, {
    scenario,
    options: options({ batchSize: int(2, { optional: true, low: 1 }) }),
  }),
  limited: row(c.limited, {
    scenario,
    options: options({ train: int(2, { low: 1 }), test: int(2, { low: 1 }) }, { required: true }),
  }),
  rotateImages: row(c.rotateImages, {
    data: value(
      some,
      {
        undefined,
        null: null,
        'a number': 7,
        'an empty object': {},
        'no images': { ...some(), shape: [2, 1, 2] },
      },
      'data|inputs',
    ),
    degrees: num(10, { refused: [Infinity] }),
  }),
  classesOf: row(c.classesOf, { data }),
  mlp: row((s, h) => c.mlp(s, h)(new Generator(1)), {
    scenario,
    hidden: list(() => [3], { optional: true, bad: ['a', 0.5, 0] }),
  }),
  Trainer: row((o) => new c.Trainer(o), {
    options: options(
      {
        scenario,
        model: {
          make: () => model(stream()),
          wrong: [
            ...thing(() => model).wrong,
            ['a function that gives another thing', () => () => 7],
          ],
        },
        strategies: list(() => [], { optional: true, bad: [null, 7, {}] }),
        optimizer: thing(() => undefined, { optional: true }),
        epochs: int(1, { optional: true, low: 1 }),
        batchSize: int(2, { optional: true, low: 1 }),
        seed,
        trainingHead: word('seen', { optional: true }),
        measure: word('all', { optional: true }),
      },
      { required: true },
    ),
  }),
  'Trainer.run': row((o) => trainer().run(o), {
    options: options({
      signal: thing(() => new AbortController().signal, { optional: true }),
      onStep: thing(() => () => undefined, { optional: true }),
      onExperience: thing(() => () => undefined, { optional: true }),
      checkpoint: value(() => ({ path: join(folder, 'run2'), every: 1 }), {
        'a number': 7,
        'no path': { every: 1 },
        'no number': { path: join(folder, 'run2') },
      }),
    }),
  }),
  'Trainer.save': row((path) => trainer().save(path), { path: text(() => join(folder, 'saved')) }),
  'Trainer.load': row((path) => trainer().load(path), {
    path: {
      make: () => runFile,
      wrong: [
        ...text(() => runFile).wrong,
        ['a missing file', () => join(folder, 'nowhere')],
        ['another state', () => stateFile, '.*'],
      ],
    },
  }),
  study: row(c.study, { options: options(study, { required: true }) }),
  tuneThenEvaluate: row(c.tuneThenEvaluate, {
    options: options(
      {
        algorithms: list(
          () => [
            {
              name: 'er',
              grid: { memory: [2] },
              make: ({ memory: m }: { memory: number }) => ({
                strategies: [new c.Er({ memory: m })],
              }),
            },
          ],
          { bad: [null, 7, {}] },
        ),
        model: study.model,
        tuning: value(() => ({ scenario: stream, seeds: [1] }), {
          undefined,
          null: null,
          'a number': 7,
          'an empty object': {},
        }),
        evaluation: value(() => ({ scenario: stream, seeds: [1] }), {
          undefined,
          null: null,
          'a number': 7,
          'an empty object': {},
        }),
      },
      { required: true },
    ),
  }),
  combinations: row(c.combinations, {
    grid: value(() => ({ a: [1, 2] }), {
      undefined,
      null: null,
      'a number': 7,
      'no lists': { a: 7 },
      'an empty list': { a: [] },
    }),
  }),
  metricsOf: row(c.metricsOf, { matrix }),
  estimate: row(c.estimate, {
    values: list(() => [1, 2], { bad: ['a', NaN, null], refused: [[]] }),
  }),
  studentQuantile: row(c.studentQuantile, { freedom: int(3, { low: 1 }) }),
  sectionsOf: row(c.sectionsOf, {
    title: text(() => 'title'),
    results: list(() => [], { bad: [null, 7, {}] }),
    names: list(() => ['a'], { bad: [7, null] }),
    configuration: value(() => ({ a: 1 }), { undefined, null: null, 'a number': 7 }),
  }),
  Reservoir: row((n) => new c.Reservoir(n), { 'memory|capacity': int(4, { low: 1 }) }),
  'Reservoir.offer': row((b, g) => new c.Reservoir(4).offer(b, g), {
    batch: value(
      () => ({ inputs: t([2, 3]), targets: ints([0, 1]), tasks: Int32Array.of(0, 0) }),
      {
        undefined,
        null: null,
        'a number': 7,
        'an empty object': {},
        'no tensors': { inputs: 7, targets: 7, tasks: Int32Array.of(0) },
      },
      'batch|inputs',
    ),
    generator,
  }),
  'Reservoir.sample': row(
    (n, g) => {
      const r = new c.Reservoir(4)
      r.offer(
        { inputs: t([2, 3]), targets: ints([0, 1]), tasks: Int32Array.of(0, 0) },
        new Generator(1),
      )
      return r.sample(n, g)
    },
    { n: int(1, { low: 0 }), generator },
  ),
  'Reservoir.loadState': row((s) => new c.Reservoir(4).loadState(s), {
    state: value(() => new c.Reservoir(4).state(), {
      undefined,
      null: null,
      'a number': 7,
      'an empty object': {},
      'another size': () => new c.Reservoir(3).state(),
    }),
  }),
  chosen: row(c.chosen, {
    size: int(5, { low: 0 }),
    count: int(2, { low: 0, refused: [6] }),
    generator,
  }),
  columnsOf: row(c.columnsOf, {
    x: x(() => t([2, 3]), { shapes: [[3]] }),
    columns: list(() => [0, 2], { bad: ['a', 0.5, 9], refused: [[1], [2, 1]] }),
  }),
  distillation: row(c.distillation, {
    logits: x(() => t([2, 3]), { shapes: [[3]] }),
    old: x(() => t([2, 3]), { shapes: [[3], [2, 2]] }),
    heads: list(() => [[0, 2]], { bad: [null, 7, [0]], refused: [[]] }),
    temperature: num(2, { refused: [0, -1] }),
  }),
  lastLayer: row(c.lastLayer, {
    model: thing(() => new nn.Linear(2, 3)),
    outputs: int(3, { low: 1, refused: [4] }),
  }),
  watchInput: row(c.watchInput, { layer: thing(() => new nn.Linear(2, 3)) }),
  'Teacher.renew': row((a) => new c.Teacher().renew(a), { c: context }),
  fisherDiagonal: row(c.fisherDiagonal, {
    c: context,
    options: options(
      {
        samples: int(2, { optional: true, low: 1 }),
        batchSize: int(1, { optional: true, low: 1 }),
        labels: word('given', { optional: true }),
      },
      { required: true },
    ),
  }),
  meanOverGradients: row(c.meanOverGradients, {
    c: context,
    options: options(
      { samples: int(2, { low: 1 }), batchSize: int(1, { low: 1 }) },
      { required: true },
    ),
    objective: thing(() => (_: unknown, logits: Tensor) => logits.square().sum()),
    gather: thing(() => (sum: Tensor, g: Tensor) => void sum.add_(g)),
  }),
  QuadraticPenalty: row((p, f, d) => new c.QuadraticPenalty().renew(p, f, d), {
    parameters,
    added: list(() => [t([2])], { bad: [null, 7], refused: [[]] }),
    decay: num(0.5, { low: 0, high: 1 }),
  }),
  'QuadraticPenalty.extend': row((p, f) => new c.QuadraticPenalty().extend(p, f), {
    parameters,
    added: list(() => [t([2])], { bad: [null, 7], refused: [[]] }),
  }),
  'QuadraticPenalty.addGradient': row(
    (p, w) => {
      const q = new c.QuadraticPenalty()
      q.renew([t([2])], [t([2])], 1)
      q.addGradient(p, w)
    },
    { parameters, strength: num(1, { low: 0 }) },
  ),
  'QuadraticPenalty.value': row(
    (p, w) => {
      const q = new c.QuadraticPenalty()
      q.renew([t([2])], [t([2])], 1)
      return q.value(p, w)
    },
    { parameters, strength: num(1, { low: 0 }) },
  ),
  'QuadraticPenalty.loadState': row((s) => new c.QuadraticPenalty().loadState(s), {
    state: value(() => new c.QuadraticPenalty().state(), {
      undefined,
      null: null,
      'a number': 7,
      words: { importance: 'a', anchor: 'b' },
    }),
  }),
  projectConflict: row(c.projectConflict, {
    grads: list(() => [t([2])], { bad: [null, 7] }),
    reference: list(() => [t([2])], { bad: [null, 7, t([3])], refused: [[]] }),
  }),
  bytesIn: row(c.bytesIn, { state: value(() => ({ a: 1 }), {}) }),
  saveState: row(c.saveState, {
    path: text(() => join(folder, 'saved')),
    state: value(() => ({ a: 1 }), { 'a function': () => () => 1 }),
  }),
  loadState: row(c.loadState, {
    path: {
      make: () => stateFile,
      wrong: [...text(() => stateFile).wrong, ['a missing file', () => join(folder, 'nowhere')]],
    },
  }),
}
