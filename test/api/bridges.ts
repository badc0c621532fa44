/** 'palimpsest/tfjs' and 'palimpsest/jax'. */

import { numpy as np } from '@jax-js/jax'
import * as j from '../../lib/jax/index.js'
import { AdamW } from '../../lib/optim/index.js'
import * as f from '../../lib/tfjs/index.js'
import {
  type Argument,
  int,
  list,
  num,
  options,
  row,
  type Table,
  thing,
  value,
  word,
} from './derive.js'

const lr = num(0.1, { optional: true, low: 0, refused: [Infinity] })
const eps = num(1e-7, { optional: true, low: 0, refused: [2] })
const decay = num(0.9, { optional: true, low: 0, refused: [1, 2] })
const weightDecay = num(0.1, { optional: true, low: 0 })
const betas = value(() => [0.9, 0.99], { 'a number': 7, one: [0.9], words: ['a', 'b'] })
const lists = {
  toHidden: list(() => ['a'], { optional: true, bad: [7, null] }),
  toRest: list(() => ['b'], { optional: true, bad: [7, null] }),
}
const muonOptions = {
  momentum: decay,
  weightDecay,
  steps: int(5, { optional: true, low: 0 }),
  compute: word('float32', { optional: true }),
  adjustLr: word('original', { optional: true }),
  eps,
  rest: value(
    () => ({ weightDecay: 0 }),
    { 'a number': 7, 'a wrong option': { weightDecay: -1 } },
    'rest|weightDecay',
  ),
  ...lists,
}
const dionOptions = {
  momentum: decay,
  weightDecay,
  rankFraction: num(0.5, { optional: true, refused: [0, -1, 2] }),
  seed: int(1, { optional: true, low: 0 }),
  ...lists,
}
const named = { lr, nonFinite: word('skip', { optional: true }) }

export const tfjs: Table = {
  MuonFamily: row((a, b) => new f.MuonFamily(a, b), {
    family: word('muon'),
    options: options({ ...muonOptions, ...named }),
  }),
  muon: row(f.muon, { options: options({ ...muonOptions, ...named }) }),
  norMuon: row(f.norMuon, { options: options({ ...muonOptions, ...named, beta2: decay }) }),
  dion: row(f.dion, { options: options({ ...dionOptions, ...named }) }),
}

const params = () => ({ a: np.ones([2, 2]), b: np.ones([3, 2]) })
/** A transformation, carried as far as its first state, when its options count. */
const first =
  (make: (...args: never[]) => j.GradientTransformation) =>
  (...args: unknown[]) =>
    make(...(args as never[])).init(params())
const rate: Argument = value(() => 0.1, {
  undefined,
  null: null,
  'a string': 'text',
  'an object': {},
  NaN,
})
const isHidden = thing(() => () => undefined, { optional: true })
const learningRate = rate

export const jax: Table = {
  muon: row(first(j.muon), { learningRate, options: options({ ...muonOptions, isHidden }) }),
  norMuon: row(first(j.norMuon), {
    learningRate,
    options: options({ ...muonOptions, beta2: decay, isHidden }),
  }),
  dion: row(first(j.dion), { learningRate, options: options({ ...dionOptions, isHidden }) }),
  adamw: row(first(j.adamw), {
    learningRate,
    options: options({ betas, eps: num(1e-8, { optional: true, low: 0 }), weightDecay }),
  }),
  lion: row(first(j.lion), { learningRate, options: options({ betas, weightDecay }) }),
  scaleByMuon: row(first(j.scaleByMuon), {
    options: options({
      ...muonOptions,
      weightDecay: value(() => 0, { decay: 0.1, 'a string': 'a' }),
    }),
  }),
  scaleByNorMuon: row(first(j.scaleByNorMuon), {
    options: options({
      ...muonOptions,
      beta2: decay,
      weightDecay: value(() => 0, { decay: 0.1, 'a string': 'a' }),
    }),
  }),
  fromOptimizer: row(first(j.fromOptimizer), {
    make: {
      make: () => (p: object) => new AdamW(Object.values(p)),
      wrong: [...thing(() => 1).wrong, ['a function that makes another thing', () => () => 7]],
    },
    learningRate: { make: () => 0.1, wrong: rate.wrong.filter(([label]) => label !== 'undefined') },
  }),
  'GradientTransformation.init': row((p) => j.lion(0.1).init(p), {
    params: value(
      params,
      {
        undefined,
        null: null,
        'a number': 7,
        'another type inside': () => ({ a: np.ones([2], { dtype: np.int32 }), b: 7 }),
      },
      'params',
    ),
  }),
  'GradientTransformation.update': row((u, s) => j.lion(0.1).update(u, s), {
    updates: value(
      params,
      {
        undefined,
        null: null,
        'a number': 7,
        integers: () => ({ a: np.ones([2, 2], { dtype: np.int32 }), b: np.ones([3, 2]) }),
      },
      'updates|float32',
    ),
    state: value(() => j.lion(0.1).init(params()), {
      undefined,
      null: null,
      'a number': 7,
      "another's": () => j.lion(0.1).init({ c: np.ones([2]) }),
    }),
  }),
  applyUpdates: row(j.applyUpdates, {
    params: value(params, { undefined, null: null, 'a number': 7 }),
    updates: value(params, {
      undefined,
      null: null,
      'a number': 7,
      'another tree': () => ({ a: np.ones([2, 2]) }),
    }),
  }),
}
