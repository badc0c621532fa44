/** The functions and classes of 'palimpsest/nn'. */

import { Generator } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import {
  type Argument,
  bools,
  int,
  ints,
  list,
  num,
  options,
  row,
  type Table,
  t,
  thing,
  value,
  word,
  x,
} from './derive.js'

const generator = thing(() => new Generator(1), { optional: true })
const size = (valid: number) => int(valid, { low: 1 })
const pair = (valid: number, low: number, optional = true): Argument => {
  const single = int(valid, { low, optional })
  const lists = value(() => valid, {
    'three numbers': [1, 1, 1],
    'one number': [1],
    'words in a pair': ['a', 'b'],
    'a fraction in a pair': [0.5, 1],
  })
  return { make: single.make, wrong: [...single.wrong, ...lists.wrong] }
}
const eps = num(1e-5, { optional: true, low: 0 })
const reduction = word('mean', { optional: true })
const images = x(() => t([2, 2, 6, 6]), { refused: ['int32', 'bool'], shapes: [[2, 6, 6], []] })
const window = { stride: pair(1, 1), padding: pair(0, 0), dilation: pair(1, 1) }
const pool = { stride: pair(2, 1), padding: pair(0, 0) }
const numbers = (extents: number[], shapes: number[][] = []) =>
  x(() => t(extents), { refused: ['int32', 'bool'], shapes })
const some = (extents: number[], shapes: number[][] = []) =>
  x(() => t(extents), { optional: true, nullable: true, shapes })
const chance = (extents: number[]) => x(() => t(extents).mul(0.1), { shapes: [[3]] })
const same = { input: x(() => t([2, 3])), target: x(() => t([2, 3]), { shapes: [[3], [3, 2]] }) }
const classes = x(() => ints([0, 2]), { refused: ['float32', 'bool'], shapes: [[3], [2, 1]] })
const noClass = value(
  () => 0,
  { 'no class': ints([0, 9]), 'a negative class': ints([0, -1]) },
  'targets?|classes',
)
const targets: Argument = { make: classes.make, wrong: [...classes.wrong, ...noClass.wrong] }
const weightOptions = { generator }
const heads = x(() => t([1, 2, 4, 3]), { refused: ['int32'], shapes: [[2, 4, 3]] })
const attention = {
  mask: x(() => bools(new Array(16).fill(1), [4, 4]), {
    optional: true,
    nullable: true,
    refused: ['float32'],
    shapes: [[3]],
  }),
  scale: num(0.5, { optional: true }),
}
const layer = (make: () => nn.Module, extents: number[], shapes: number[][] = [[]]) =>
  row((input) => make().forward(input as never), {
    'input|x|images|currents|queries': x(() => t(extents), { refused: ['int32'], shapes }),
  })
const inPlace = x(() => t([3, 4]), { strict: true })
const initial = (names: (keyof typeof nn.init)[], args: Record<string, Argument> = {}): Table =>
  Object.fromEntries(
    names.map((name) => [`init.${name}`, row(nn.init[name], { x: inPlace, ...args })]),
  )
const std = num(1, { optional: true, low: 0 })
const net = () => new nn.Sequential(new nn.Linear(3, 4), new nn.Linear(4, 2))
const gptOptions = {
  vocabulary: size(5),
  context: size(4),
  layers: size(1),
  heads: size(1),
  width: size(4),
  dropout: num(0, { optional: true, low: 0, high: 1 }),
  mlpRatio: num(2, { optional: true, refused: [0, -1] }),
  activation: word('gelu', { optional: true }),
  norm: word('rms', { optional: true }),
  eps,
  generator,
}
const gpt = () => new nn.GPT({ vocabulary: 5, context: 4, layers: 1, heads: 1, width: 4 })

export const networks: Table = {
  // Functions.
  linear: row(nn.linear, {
    input: numbers([2, 3], [[2, 4], []]),
    weights: numbers([4, 3], [[4], [4, 2]]),
    offsets: some([4], [[3]]),
  }),
  conv2d: row(nn.conv2d, {
    images,
    kernels: numbers(
      [4, 2, 3, 3],
      [
        [4, 2, 3],
        [4, 3, 3, 3],
      ],
    ),
    offsets: some([4], [[3]]),
    options: options({ ...window, groups: int(1, { optional: true, low: 1, high: 1 }) }),
  }),
  convTranspose2d: row(nn.convTranspose2d, {
    images,
    kernels: numbers(
      [2, 4, 3, 3],
      [
        [2, 4, 3],
        [3, 4, 3, 3],
      ],
    ),
    offsets: some([4], [[3]]),
    options: options({
      ...window,
      outputPadding: pair(0, 0),
      groups: int(1, { optional: true, low: 1 }),
    }),
  }),
  maxPool2d: row(nn.maxPool2d, { images, kernel: pair(2, 1, false), options: options(pool) }),
  avgPool2d: row(nn.avgPool2d, { images, kernel: pair(2, 1, false), options: options(pool) }),
  unfold: row(nn.unfold, {
    images: x(() => t([2, 2, 6, 6]), { shapes: [[6, 6]] }),
    kernelSize: pair(2, 1, false),
    options: options(window),
  }),
  fold: row(nn.fold, {
    columns: x(() => t([2, 8, 25]), {
      shapes: [
        [2, 8],
        [2, 8, 24],
        [2, 7, 25],
      ],
    }),
    size: pair(6, 1, false),
    kernelSize: pair(2, 1, false),
    options: options(window),
  }),
  layerNorm: row(nn.layerNorm, {
    input: numbers([2, 3], [[]]),
    weights: some([3], [[2]]),
    offsets: some([3], [[2]]),
    options: options({
      shape: list(() => [3], { optional: true, bad: ['a', 0.5, -1], refused: [[2], [2, 3, 4]] }),
      eps,
    }),
  }),
  rmsNorm: row(nn.rmsNorm, {
    input: numbers([2, 3], [[]]),
    weights: some([3], [[2]]),
    options: options({
      shape: list(() => [3], { optional: true, bad: ['a', 0.5, -1], refused: [[2], [2, 3, 4]] }),
      eps,
    }),
  }),
  batchNorm: row(nn.batchNorm, {
    images: numbers([4, 3], [[3]]),
    weights: some([3], [[2]]),
    offsets: some([3], [[2]]),
    given: value(
      () => ({ mean: t([3]), variance: t([3]) }),
      {
        'a number': 7,
        'a string': 'text',
        empty: {},
        'other extents': { mean: t([2]), variance: t([2]) },
        words: { mean: 'a', variance: 'b' },
      },
      'given|mean|variance',
    ),
    eps,
  }),
  embedding: row(nn.embedding, {
    indices: {
      make: classes.make,
      wrong: [
        ...x(classes.make, { refused: ['float32'] }).wrong,
        ...value(() => 0, { 'no row': ints([0, 9]), negative: ints([-1]) }).wrong,
      ],
    },
    table: numbers([5, 3], [[5]]),
    options: options({ paddingIndex: int(1, { optional: true, low: 0, high: 4 }) }),
  }),
  scaledDotProductAttention: row(nn.scaledDotProductAttention, {
    queries: heads,
    keys: x(() => t([1, 2, 4, 3]), { refused: ['int32', 'float64'], shapes: [[1, 2, 4, 2]] }),
    values: x(() => t([1, 2, 4, 3]), { refused: ['int32', 'float64'], shapes: [[1, 2, 3, 3]] }),
    options: options(attention),
  }),
  packedAttention: row(nn.packedAttention, {
    projections: x(() => t([1, 4, 12]), {
      refused: ['int32'],
      shapes: [
        [4, 12],
        [1, 4, 11],
      ],
    }),
    headCount: int(2, { low: 1 }),
    options: options(attention),
  }),
  selectiveScan: row(nn.selectiveScan, {
    input: numbers([1, 4, 2], [[4, 2]]),
    steps: numbers([1, 4, 2], [[4, 2]]),
    a: numbers([2, 3], [[3]]),
    b: numbers([1, 4, 3], [[4, 3]]),
    c: numbers([1, 4, 3], [[4, 3]]),
    d: some([2], [[3]]),
  }),
  causalConv1d: row(nn.causalConv1d, {
    input: numbers([1, 4, 2], [[4, 2]]),
    weights: numbers([2, 3], [[3], [3, 3]]),
    offsets: some([2], [[3]]),
  }),
  lif: row(nn.lif, {
    currents: numbers([4, 2], [[]]),
    options: options({
      decay: num(0.5, { optional: true, low: 0, high: 1 }),
      threshold: num(1, { optional: true, low: 0 }),
      reset: word('soft', { optional: true }),
      surrogate: word('atan', { optional: true }),
      alpha: num(2, { optional: true, refused: [0, -1] }),
      state: some([2], [[3]]),
    }),
  }),
  geluTanh: row(nn.geluTanh, { x: x(() => t([3])) }),
  // Losses.
  crossEntropy: row(nn.crossEntropy, {
    logits: x(() => t([2, 3]), { shapes: [[3], []] }),
    targets,
    options: options({
      weight: x(() => t([3]), { optional: true, nullable: true, shapes: [[2]] }),
      labelSmoothing: num(0.1, { optional: true, low: 0, high: 1 }),
      ignoreIndex: int(-100, { optional: true }),
      reduction,
    }),
  }),
  nllLoss: row(nn.nllLoss, {
    input: x(() => t([2, 3]), { shapes: [[3], []] }),
    target: targets,
    options: options({
      weight: x(() => t([3]), { optional: true, nullable: true, shapes: [[2]] }),
      ignoreIndex: int(-100, { optional: true }),
      reduction,
    }),
  }),
  mseLoss: row(nn.mseLoss, { ...same, options: options({ reduction }) }),
  l1Loss: row(nn.l1Loss, { ...same, options: options({ reduction }) }),
  smoothL1Loss: row(nn.smoothL1Loss, {
    ...same,
    options: options({ beta: num(1, { optional: true, low: 0, refused: [Infinity] }), reduction }),
  }),
  huberLoss: row(nn.huberLoss, {
    ...same,
    options: options({ delta: num(1, { optional: true, refused: [0, -1, Infinity] }), reduction }),
  }),
  bceLoss: row(nn.bceLoss, {
    input: chance([2, 3]),
    target: chance([2, 3]),
    options: options({ reduction }),
  }),
  bceWithLogits: row(nn.bceWithLogits, { ...same, options: options({ reduction }) }),
  klDiv: row(nn.klDiv, { ...same, options: options({ reduction }) }),
  cosineSimilarity: row(nn.cosineSimilarity, {
    a: x(() => t([2, 3])),
    b: x(() => t([2, 3]), { shapes: [[3, 2]] }),
    axis: int(1, { optional: true, low: -2, high: 1 }),
    eps: num(1e-8, { optional: true, low: 0 }),
  }),
  cosineEmbeddingLoss: row(nn.cosineEmbeddingLoss, {
    a: x(() => t([2, 3])),
    b: x(() => t([2, 3]), { shapes: [[3, 2]] }),
    labels: x(() => ints([1, -1]), { shapes: [[3]] }),
    options: options({ margin: num(0.1, { optional: true }), reduction }),
  }),
  tripletMarginLoss: row(nn.tripletMarginLoss, {
    anchor: x(() => t([2, 3])),
    positive: x(() => t([2, 3]), { shapes: [[3, 2]] }),
    negative: x(() => t([2, 3]), { shapes: [[3, 2]] }),
    options: options({ margin: num(0.1, { optional: true }), reduction }),
  }),
  // Layers.
  Linear: row((a, b, o) => new nn.Linear(a, b, o), {
    inFeatures: size(3),
    outFeatures: size(4),
    options: options({
      ...weightOptions,
      activation: word('relu', { optional: true }),
      compute: word('float32', { optional: true }),
    }),
  }),
  Conv2d: row((a, b, k, o) => new nn.Conv2d(a, b, k, o), {
    inChannels: size(2),
    outChannels: size(4),
    kernelSize: pair(3, 1, false),
    options: options({
      ...weightOptions,
      ...window,
      groups: int(2, { optional: true, low: 1, refused: [3] }),
    }),
  }),
  ConvTranspose2d: row((a, b, k, o) => new nn.ConvTranspose2d(a, b, k, o), {
    inChannels: size(2),
    outChannels: size(4),
    kernelSize: pair(3, 1, false),
    options: options({
      ...weightOptions,
      ...window,
      outputPadding: pair(0, 0),
      groups: int(2, { optional: true, low: 1, refused: [3] }),
    }),
  }),
  MaxPool2d: row((k, o) => new nn.MaxPool2d(k, o), {
    kernelSize: pair(2, 1, false),
    options: options(pool),
  }),
  AvgPool2d: row((k, o) => new nn.AvgPool2d(k, o), {
    kernelSize: pair(2, 1, false),
    options: options(pool),
  }),
  Dropout: row((p, o) => new nn.Dropout(p, o), {
    p: num(0.5, { optional: true, low: 0, high: 1 }),
    options: options({ generator }),
  }),
  GELU: row((o) => new nn.GELU(o), {
    options: options({ approximate: word('tanh', { optional: true }) }),
  }),
  Sine: row((omega) => new nn.Sine(omega), {
    omega: num(30, { optional: true, refused: [Infinity] }),
  }),
  SineLinear: row((a, b, o) => new nn.SineLinear(a, b, o), {
    inFeatures: size(3),
    outFeatures: size(4),
    options: options({
      ...weightOptions,
      omega: num(30, { optional: true, refused: [0, -1, Infinity] }),
    }),
  }),
  Embedding: row((a, b, o) => new nn.Embedding(a, b, o), {
    numEmbeddings: size(5),
    embeddingDim: size(3),
    options: options({ paddingIndex: int(1, { optional: true, low: 0, high: 4 }), generator }),
  }),
  LayerNorm: row((s, o) => new nn.LayerNorm(s, o), {
    normalizedShape: int(3, { low: 0 }),
    options: options({ eps }),
  }),
  RMSNorm: row((s, o) => new nn.RMSNorm(s, o), {
    normalizedShape: int(3, { low: 0 }),
    options: options({ eps }),
  }),
  GroupNorm: row((g, c, o) => new nn.GroupNorm(g, c, o), {
    groups: int(2, { low: 1, refused: [3] }),
    channels: size(4),
    options: options({ eps }),
  }),
  BatchNorm: row((c, o) => new nn.BatchNorm(c, o), {
    channels: size(4),
    options: options({
      eps,
      momentum: num(0.1, { optional: true, nullable: true, low: 0, high: 1 }),
    }),
  }),
  MultiHeadAttention: row((w, h, o) => new nn.MultiHeadAttention(w, h, o), {
    width: size(4),
    heads: int(2, { low: 1, refused: [3] }),
    options: options({ generator }),
  }),
  TransformerBlock: row((w, h, o) => new nn.TransformerBlock(w, h, o), {
    width: size(4),
    heads: int(2, { low: 1, refused: [3] }),
    options: options({
      generator,
      eps,
      mlpRatio: num(2, { optional: true, refused: [0, -1] }),
      activation: word('gelu', { optional: true }),
      norm: word('rms', { optional: true }),
      dropout: num(0.1, { optional: true, low: 0, high: 1 }),
    }),
  }),
  Mamba: row((w, o) => new nn.Mamba(w, o), {
    width: size(4),
    options: options({
      states: int(2, { optional: true, low: 1 }),
      taps: int(2, { optional: true, low: 1 }),
      expand: num(2, { optional: true, refused: [0, -1] }),
      rank: int(1, { optional: true, low: 1 }),
      generator,
    }),
  }),
  MambaBlock: row((w, o) => new nn.MambaBlock(w, o), {
    width: size(4),
    options: options({ states: int(2, { optional: true, low: 1 }), eps, generator }),
  }),
  LIF: row((o) => new nn.LIF(o), {
    options: options({
      decay: num(0.5, { optional: true, low: 0, high: 1 }),
      threshold: num(1, { optional: true, low: 0 }),
      reset: word('soft', { optional: true }),
      surrogate: word('atan', { optional: true }),
      alpha: num(2, { optional: true, refused: [0, -1] }),
    }),
  }),
  Sequential: row((a) => new nn.Sequential(a), { 'layers[0]': thing(() => new nn.ReLU()) }),
  GPT: row((o) => new nn.GPT(o), { options: options(gptOptions, { required: true }) }),
  VisionTransformer: row((o) => new nn.VisionTransformer(o), {
    options: options(
      {
        imageSize: size(4),
        patchSize: int(2, { low: 1, refused: [3] }),
        channels: int(1, { optional: true, low: 1 }),
        classes: size(3),
        layers: size(1),
        heads: int(1, { low: 1, refused: [3] }),
        width: size(4),
        pool: word('mean', { optional: true }),
        dropout: num(0, { optional: true, low: 0, high: 1 }),
        generator,
      },
      { required: true },
    ),
  }),
  // Forward passes.
  'Linear.forward': layer(() => new nn.Linear(3, 2), [2, 3], [[2, 4], []]),
  'Conv2d.forward': layer(
    () => new nn.Conv2d(2, 4, 3),
    [1, 2, 6, 6],
    [
      [2, 6],
      [1, 3, 6, 6],
    ],
  ),
  'ConvTranspose2d.forward': layer(
    () => new nn.ConvTranspose2d(2, 4, 3),
    [1, 2, 6, 6],
    [
      [2, 6],
      [1, 3, 6, 6],
    ],
  ),
  'MaxPool2d.forward': layer(() => new nn.MaxPool2d(2), [1, 2, 6, 6], [[2, 6]]),
  'AvgPool2d.forward': layer(() => new nn.AvgPool2d(2), [1, 2, 6, 6], [[2, 6]]),
  'Dropout.forward': layer(() => new nn.Dropout(0.5), [2, 3], []),
  'LayerNorm.forward': layer(() => new nn.LayerNorm(3), [2, 3], [[2, 4], []]),
  'RMSNorm.forward': layer(() => new nn.RMSNorm(3), [2, 3], [[2, 4], []]),
  'GroupNorm.forward': layer(() => new nn.GroupNorm(2, 4), [2, 4], [[2, 3], [4]]),
  'BatchNorm.forward': layer(() => new nn.BatchNorm(3), [4, 3], [[3], [4, 2]]),
  'MultiHeadAttention.forward': layer(
    () => new nn.MultiHeadAttention(4, 2),
    [1, 3, 4],
    [
      [3, 4],
      [1, 3, 5],
    ],
  ),
  'TransformerBlock.forward': layer(
    () => new nn.TransformerBlock(4, 2),
    [1, 3, 4],
    [
      [3, 4],
      [1, 3, 5],
    ],
  ),
  'Mamba.forward': layer(
    () => new nn.Mamba(4),
    [1, 3, 4],
    [
      [3, 4],
      [1, 3, 5],
    ],
  ),
  'MambaBlock.forward': layer(() => new nn.MambaBlock(4), [1, 3, 4], [[1, 3, 5]]),
  'SineLinear.forward': layer(() => new nn.SineLinear(3, 2), [2, 3], [[2, 4], []]),
  'LIF.forward': layer(() => new nn.LIF(), [4, 2], [[]]),
  'Sequential.forward': layer(() => new nn.Sequential(new nn.Linear(3, 2)), [2, 3], [[2, 4]]),
  'VisionTransformer.forward': layer(
    () =>
      new nn.VisionTransformer({
        imageSize: 4,
        patchSize: 2,
        channels: 1,
        classes: 3,
        layers: 1,
        heads: 1,
        width: 4,
      }),
    [1, 1, 4, 4],
    [
      [1, 4, 4],
      [1, 1, 4, 5],
    ],
  ),
  'GPT.forward': row((i) => gpt().forward(i), {
    indices: {
      make: () => ints([1, 2], [1, 2]),
      wrong: [
        ...x(() => ints([1, 2], [1, 2]), { refused: ['float32'], shapes: [[2], [1, 5]] }).wrong,
        ...value(() => 0, { 'no token': ints([9], [1, 1]) }).wrong,
      ],
    },
  }),
  'GPT.generate': row((prompt, count, o) => gpt().generate(prompt, count, o), {
    prompt: list(() => [1, 2], { bad: ['a', 0.5, 9, -1], refused: [[]] }),
    count: int(2, { low: 0 }),
    options: options({
      temperature: num(1, { optional: true, low: 0 }),
      topK: int(2, { optional: true, low: 1 }),
      generator,
    }),
  }),
  // Modules.
  parameter: row(nn.parameter, { x: x(() => t([3]), { strict: true, refused: ['int32'] }) }),
  buffer: row(nn.buffer, { x: x(() => t([3]), { strict: true }) }),
  'Module.getModule': row((path) => net().getModule(path), { path: word('0') }),
  'Module.apply': row((fn) => net().apply(fn), { fn: thing(() => () => undefined) }),
  'Module.to': row((target) => net().to(target), {
    target: {
      make: () => 'float64',
      wrong: [...word('float64').wrong, ['an integer type', () => 'int32']],
    },
  }),
  'Module.loadStateDict': row((state) => net().loadStateDict(state), {
    state: value(
      () => net().stateDict(),
      {
        undefined,
        null: null,
        'a number': 7,
        'missing parameters': {},
        'no tensors': { '0.weight': 7, '0.bias': 7, '1.weight': 7, '1.bias': 7 },
        'other shapes': () => ({ ...net().stateDict(), '0.bias': t([3]) }),
      },
      "state|'?0.(bias|weight)'?",
    ),
  }),
  ...Object.fromEntries(
    (
      [
        'registerForwardPreHook',
        'registerForwardHook',
        'registerFullBackwardPreHook',
        'registerFullBackwardHook',
      ] as const
    ).map((name) => [
      `Module.${name}`,
      row((hook) => net()[name](hook), { hook: thing(() => () => undefined) }),
    ]),
  ),
  // Initial values.
  'init.uniform': row(nn.init.uniform, {
    x: inPlace,
    low: num(0, { refused: [-Infinity] }),
    high: num(1, { refused: [Infinity] }),
    'g|generator': generator,
  }),
  'init.normal': row(nn.init.normal, {
    x: inPlace,
    mean: num(0, { optional: true, refused: [Infinity] }),
    std,
    'g|generator': generator,
  }),
  'init.truncNormal': row(nn.init.truncNormal, {
    x: inPlace,
    mean: num(0, { optional: true, refused: [9] }),
    std,
    low: num(-2, { optional: true, refused: [3] }),
    high: num(2, { optional: true, refused: [-3] }),
    'g|generator': generator,
  }),
  ...initial(['kaimingUniform', 'kaimingNormal'], {
    a: num(0, { optional: true }),
    'g|generator': generator,
    options: options({
      mode: word('fanIn', { optional: true }),
      nonlinearity: word('relu', { optional: true }),
    }),
  }),
  ...initial(['xavierUniform', 'xavierNormal'], {
    gain: num(1, { optional: true }),
    'g|generator': generator,
  }),
  'init.orthogonal': row(nn.init.orthogonal, {
    x: x(() => t([3, 4]), { strict: true, shapes: [[3]] }),
    gain: num(1, { optional: true }),
    'g|generator': generator,
  }),
  'init.identity': row(nn.init.identity, {
    x: x(() => t([3, 4]), { strict: true, shapes: [[3]] }),
  }),
  'init.constant': row(nn.init.constant, { x: inPlace, value: num(1) }),
  ...initial(['zeros', 'ones', 'fans']),
  'init.gainOf': row(nn.init.gainOf, {
    nonlinearity: word('relu'),
    slope: num(0.1, { optional: true }),
  }),
}
