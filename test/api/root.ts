/** The functions of 'palimpsest'. */

import * as p from '../../lib/index.js'
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
  text,
  thing,
  value,
  word,
  x,
} from './derive.js'

const m = () => t([2, 3])
const square = () => t([3, 3])
const axis = (rules = {}) => int(1, { low: -2, high: 1, ...rules })
const optionalAxis = value(() => 1, {
  'an axis too far': 2,
  'a fraction': 0.5,
  NaN,
  'a string': '1',
  'an axis twice': [0, 0],
  'an object': {},
})
const functions = p as unknown as Record<string, () => unknown>
const each = (names: string[], args: Parameters<typeof row>[1]): Table =>
  Object.fromEntries(names.map((name) => [name, row(functions[name] as () => unknown, args)]))
const words = (text: string) => text.trim().split(/\s+/)
const extents = list(() => [2, 3], { bad: [-1, 0.5, NaN, 'text', null, 2 ** 53] })
const create = options({ dtype: word('float32', { optional: true }) })
const index = x(() => ints([0, 1, 1, 0, 1, 0], [2, 3]), {
  list: true,
  refused: ['float32', 'float64', 'bool', 'uint8'],
  shapes: [[2]],
})
const outOfRange = (make: () => unknown): Table[string]['args'][string] => ({
  make,
  wrong: [
    ['an index too large', () => p.full([2, 3], 9, { dtype: 'int32' })],
    ['a negative index', () => p.full([2, 3], -1, { dtype: 'int32' })],
  ],
})
const both = (a: Table[string]['args'][string], b: Table[string]['args'][string]) => ({
  make: a.make,
  wrong: [...a.wrong, ...b.wrong],
})
const indexed = both(index, outOfRange(index.make))
const indices = both(
  x(() => ints([1, 0]), { list: true, refused: ['float32', 'bool'], shapes: [[1, 2]] }),
  value(() => 0, {
    'an index too large': [0, 5],
    'a negative index': [-1, 0],
    'a fraction': [0.5, 1],
    NaN: [NaN, 0],
    words: ['a', 'b'],
  }),
)
const operand = (shapes: number[][] = []) => x(m, { number: true, shapes })
const mask = () => bools([1, 0, 1, 1, 0, 0], [2, 3])
const vector = () => t([3], 'float64')
const leaf = () => t([3]).requireGrad()
const shared = leaf()
const squares = (z: p.Tensor) => z.mul(z).sum()

export const root: Table = {
  'Tensor.from': row(p.Tensor.from, { array: x(m) }),
  'Tensor.to': row((target) => m().to(target), { target: word('float64') }),
  'Tensor.backward': row((gradient) => shared.mul(2).backward(gradient), {
    gradient: x(() => t([3]), { optional: true, shapes: [[2]] }),
  }),
  'Tensor.registerHook': row((hook) => leaf().registerHook(hook), {
    hook: thing(() => (g: p.Tensor) => g),
  }),
  'Tensor.grad': row((grad) => void (leaf().grad = grad), {
    grad: x(() => t([3]), { nullable: true, shapes: [[2]], strict: true }),
  }),
  'Tensor.reshape': row((shape) => m().reshape(shape), {
    shape: list(() => [3, 2], { number: true, bad: [0.5, 'text', null] }),
  }),
  'Tensor.copy_': row((source) => m().copy_(source), {
    source: x(m, { number: true, shapes: [[2], [2, 2, 3]] }),
  }),
  'Tensor.fill_': row((v) => m().fill_(v), {
    value: value(() => 1, { undefined, null: null, 'a string': 'a', 'an object': {} }),
  }),
  'Tensor.add_': row((other, alpha) => m().add_(other, alpha), {
    other: x(m, { number: true, shapes: [[2], [2, 2, 3]] }),
    alpha: num(2, { optional: true }),
  }),
  'Tensor.mul_': row((other) => m().mul_(other), {
    other: x(m, { number: true, shapes: [[2], [2, 2, 3]] }),
  }),
  ...Object.fromEntries(
    (['uniform', 'normal', 'permutation'] as const).map((kind) => [
      `Generator.${kind}`,
      kind === 'permutation'
        ? row((n) => new p.Generator(1).permutation(n), { n: int(3, { low: 0 }) })
        : row(() => new p.Generator(1)[kind]()),
    ]),
  ),
  'Generator.integer': row((n) => new p.Generator(1).integer(n), {
    n: int(3, { low: 1, high: 2 ** 32 }),
  }),
  'Generator.skip': row((count) => new p.Generator(1).skip(count), { count: int(3, { low: 0 }) }),
  'Generator.loadStateDict': row((state) => new p.Generator(1).loadStateDict(state), {
    state: value(() => new p.Generator(2).stateDict(), {
      undefined,
      null: null,
      'a number': 7,
      'an empty object': {},
      'no numbers': { seed: 'a', position: 'b' },
    }),
  }),
  ...each(
    words(`
      abs neg square sign reciprocal sqrt rsqrt exp expm1 log log1p sin cos tanh sigmoid relu gelu
      silu softplus erf floor ceil round logicalNot isNaN isFinite clone nonzero onesLike
      zerosLike
    `),
    { x: x(m) },
  ),
  ...each(
    words(`
      add sub mul div pow maximum minimum mod eq ne lt le gt ge logicalAnd logicalOr logicalXor
    `),
    { a: operand(), b: operand([[2], [3, 2]]) },
  ),
  ...each(['isClose', 'allClose'], {
    a: operand(),
    b: operand([[2], [3, 2]]),
    options: options({
      rtol: num(0.1, { optional: true, low: 0 }),
      atol: num(0.1, { optional: true, low: 0 }),
    }),
  }),
  equal: row(p.equal, { a: x(m), b: x(m) }),
  lerp: row(p.lerp, { a: operand(), b: operand([[2]]), t: operand([[2]]) }),
  addcmul: row(p.addcmul, {
    x: operand(),
    a: operand([[2]]),
    b: operand([[2]]),
    value: num(2, { optional: true }),
  }),
  addcdiv: row(p.addcdiv, {
    x: operand(),
    a: operand([[2]]),
    b: operand([[2]]),
    value: num(2, { optional: true }),
  }),
  where: row(p.where, {
    condition: x(mask, { shapes: [[2]] }),
    a: operand([[2]]),
    b: operand([[2]]),
  }),
  clip: row(p.clip, {
    x: x(m),
    low: num(0, { nullable: true, optional: true }),
    high: num(1, { nullable: true, optional: true }),
  }),
  ...each(
    words(`
      sum mean prod max min any all logsumexp
    `),
    {
      x: x(m),
      axis: optionalAxis,
    },
  ),
  ...each(['argmax', 'argmin'], { x: x(m), axis: axis({ optional: true }) }),
  ...each(['cumsum', 'cumprod', 'cummax', 'cummin'], { x: x(m), axis: axis() }),
  ...each(['softmax', 'logSoftmax'], { x: x(m), axis: axis({ optional: true }) }),
  ...each(['sort', 'argsort'], { x: x(m), axis: axis({ optional: true }) }),
  variance: row((z, a, c) => p.variance(z, a, false, c), {
    x: x(m),
    axis: optionalAxis,
    correction: num(1, { optional: true }),
  }),
  std: row((z, a, c) => p.std(z, a, false, c), {
    x: x(m),
    axis: optionalAxis,
    correction: num(1, { optional: true }),
  }),
  norm: row((z, a, q) => p.norm(z, a, false, q), {
    x: x(m),
    axis: optionalAxis,
    p: num(2, { optional: true }),
  }),
  topk: row(p.topk, { x: x(m), k: int(2, { low: 0, high: 3 }), axis: axis({ optional: true }) }),
  bincount: row(p.bincount, {
    labels: both(
      x(() => ints([1, 0]), { list: true, refused: ['float32'], shapes: [[1, 2]] }),
      value(() => 0, { negative: [-1, 0], fraction: [0.5, 1] }),
    ),
    options: options({
      weights: x(() => t([2]), { optional: true, shapes: [[3]] }),
      minLength: int(2, { optional: true, low: 0 }),
    }),
  }),
  oneHot: row(p.oneHot, {
    labels: both(
      x(() => ints([1, 0]), { list: true, refused: ['float32'] }),
      value(() => 0, { negative: [-1, 0], 'too large': [9, 0], fraction: [0.5, 1] }),
    ),
    classes: int(3, { optional: true, low: -1 }),
    options: options({ dtype: word('float32', { optional: true }) }),
  }),
  gather: row(p.gather, { x: x(m), axis: axis(), index: indexed }),
  scatter: row(p.scatter, { x: x(m), axis: axis(), index: indexed, src: operand([[2], [1, 3]]) }),
  scatterAdd: row(p.scatterAdd, {
    x: x(m),
    axis: axis(),
    index: indexed,
    src: operand([[2], [1, 3]]),
  }),
  scatterReduce: row(p.scatterReduce, {
    x: x(m),
    axis: axis(),
    index: indexed,
    src: operand([[2], [1, 3]]),
    mode: word('sum'),
  }),
  indexSelect: row(p.indexSelect, { x: x(m), indices, axis: axis({ optional: true }) }),
  indexAdd: row(p.indexAdd, {
    x: x(m),
    axis: int(0, { low: -2, high: 1 }),
    indices,
    src: x(m, { shapes: [[2]] }),
    alpha: num(2, { optional: true }),
  }),
  indexCopy: row(p.indexCopy, {
    x: x(m),
    axis: int(0, { low: -2, high: 1 }),
    indices,
    src: x(m, { shapes: [[2]] }),
  }),
  indexFill: row(p.indexFill, {
    x: x(m),
    axis: int(0, { low: -2, high: 1 }),
    indices,
    value: num(2),
  }),
  maskedFill: row(p.maskedFill, { x: x(m), mask: x(mask, { shapes: [[2]] }), value: num(2) }),
  maskedSelect: row(p.maskedSelect, { x: x(m), mask: x(mask, { shapes: [[2]] }) }),
  // Views.
  reshape: row(p.reshape, {
    x: x(m),
    shape: list(() => [3, 2], {
      bad: [-2, 0.5, NaN, 'text', null],
      refused: [[4], [-1, -1], [7, -1]],
    }),
  }),
  expand: row(p.expand, {
    x: x(m),
    shape: list(() => [4, 2, 3], { bad: [7, 0.5, NaN, 'text', null], refused: [[3]] }),
  }),
  flatten: row(p.flatten, {
    x: x(m),
    start: int(0, { optional: true, low: -2, high: 1 }),
    end: int(1, { optional: true, low: -2, high: 1 }),
  }),
  permute: row(p.permute, {
    x: x(m),
    axes: list(() => [1, 0], { bad: [2, 0.5, NaN, null], refused: [[0], [0, 0]] }),
  }),
  transpose: row(p.transpose, {
    x: x(m),
    a: int(0, { optional: true, low: -2, high: 1 }),
    b: int(1, { optional: true, low: -2, high: 1 }),
  }),
  squeeze: row(p.squeeze, { x: x(() => t([2, 1])), axis: axis({ optional: true }) }),
  unsqueeze: row(p.unsqueeze, { x: x(m), axis: int(0, { low: -3, high: 2 }) }),
  slice: row(p.slice, {
    x: x(m),
    axis: axis(),
    start: int(0, { optional: true }),
    end: int(2, { optional: true, nullable: true }),
    step: int(1, { optional: true, low: 1 }),
  }),
  select: row(p.select, { x: x(m), axis: axis(), index: int(2, { low: -3, high: 2 }) }),
  moveAxis: row(p.moveAxis, {
    x: x(m),
    from: int(0, { low: -2, high: 1 }),
    to: int(1, { low: -2, high: 1 }),
  }),
  unbind: row(p.unbind, { x: x(m), axis: axis({ optional: true }) }),
  chunk: row(p.chunk, { x: x(m), count: int(2, { low: 1 }), axis: axis({ optional: true }) }),
  split: row(p.split, {
    x: x(m),
    size: both(
      int(2, { low: 1 }),
      value(() => 0, { 'another sum': [1, 1], words: ['a', 'b'], 'a negative size': [-1, 4] }),
    ),
    axis: axis({ optional: true }),
  }),
  flip: row(p.flip, { x: x(m), axes: optionalAxis }),
  roll: row(p.roll, { x: x(m), shift: int(1), axis: axis() }),
  repeat: row(p.repeat, {
    x: x(m),
    counts: list(() => [2, 1], { bad: [-1, 0.5, NaN, null], refused: [[2]] }),
  }),
  repeatInterleave: row(p.repeatInterleave, {
    x: x(m),
    counts: both(
      int(2, { low: 0 }),
      value(() => 0, { 'too few': [1], words: ['a', 'b', 'c'], negative: [1, 1, -1] }),
    ),
    axis: axis(),
  }),
  unfold: row(p.unfold, {
    x: x(m),
    axis: axis(),
    size: int(2, { low: 0, high: 3 }),
    step: int(1, { low: 1 }),
  }),
  tril: row(p.tril, { x: x(square, { shapes: [[3]] }), diagonal: int(0, { optional: true }) }),
  triu: row(p.triu, { x: x(square, { shapes: [[3]] }), diagonal: int(0, { optional: true }) }),
  diagonal: row(p.diagonal, {
    x: x(square),
    offset: int(0, { optional: true }),
    a: int(0, { optional: true, low: -2, high: 1 }),
    b: int(1, { optional: true, low: -2, high: 1, refused: [0] }),
  }),
  diag: row(p.diag, {
    x: x(square, { shapes: [[], [2, 2, 2]] }),
    offset: int(0, { optional: true }),
  }),
  trace: row(p.trace, { x: x(square, { shapes: [[3]] }) }),
  pad: row(p.pad, {
    x: x(m),
    widths: list(() => [1, 1], { bad: [0.5, NaN, null, -9], refused: [[1], [1, 1, 1, 1, 1, 1]] }),
    options: options({
      mode: word('constant', { optional: true }),
      value: num(1, { optional: true }),
    }),
  }),
  cat: row(p.cat, {
    tensors: list(() => [m(), m()], { bad: [null, 'text', 7, t([3])], refused: [[]] }),
    axis: axis({ optional: true }),
  }),
  stack: row(p.stack, {
    tensors: list(() => [m(), m()], { bad: [null, 'text', 7, t([3])], refused: [[]] }),
    axis: int(0, { optional: true, low: -3, high: 2 }),
  }),
  meshgrid: row(p.meshgrid, {
    vectors: list(() => [t([2]), t([3])], { bad: [null, 7, t([2, 2])], refused: [[]] }),
  }),
  // Products.
  matmul: row(p.matmul, {
    a: x(m, { refused: ['int32', 'bool'], shapes: [[]] }),
    b: x(square, { refused: ['int32', 'bool'], shapes: [[], [2, 2]] }),
    options: options({ compute: word('float32', { optional: true }) }),
  }),
  linear: row(p.linear, {
    input: x(m, { refused: ['int32'], shapes: [[2, 4], []] }),
    weights: x(() => t([4, 3]), { refused: ['int32'], shapes: [[4], [4, 2]] }),
    offsets: x(() => t([4]), { optional: true, nullable: true, shapes: [[3], [4, 1]] }),
    activation: word('relu', { optional: true }),
    compute: word('float32', { optional: true }),
  }),
  dot: row(p.dot, {
    a: x(() => t([3]), { shapes: [[3, 1], []] }),
    b: x(() => t([3]), { shapes: [[4], []] }),
  }),
  outer: row(p.outer, {
    a: x(() => t([3]), { shapes: [[3, 1], []] }),
    b: x(() => t([3]), { shapes: [[2, 2]] }),
  }),
  einsum: row(p.einsum, {
    spec: both(
      text(() => 'ij,jk->ik'),
      value(() => '', {
        'two arrows': 'ij,jk->ik->i',
        'one operand': 'ij->i',
        signs: 'i%,jk->ik',
        'an unknown result': 'ij,jk->z',
        'wrong axes': 'i,jk->k',
      }),
    ),
    'operands[0]': x(m, { shapes: [[2, 4]] }),
    'operands[1]': x(square),
  }),
  // Making.
  tensor: row(p.tensor, {
    values: value(() => [[1, 2]], {
      undefined,
      null: null,
      'a string': 'text',
      'an object': {},
      ragged: [[1], [1, 2]],
      'mixed depths': [1, [2]],
      'words inside': ['a'],
      'another array': new BigInt64Array(2),
      'nine axes': [[[[[[[[[1]]]]]]]]],
    }),
    options: options({
      dtype: word('float32', { optional: true }),
      shape: list(() => [2, 1], { optional: true, bad: [-1, 0.5, 'text'], refused: [[7]] }),
    }),
  }),
  zeros: row(p.zeros, { shape: extents, options: create }),
  ones: row(p.ones, { shape: extents, options: create }),
  full: row(p.full, {
    shape: extents,
    value: value(() => 1, { undefined, null: null, 'a string': '1', 'an object': {} }),
    options: create,
  }),
  arange: row(p.arange, {
    start: num(0, { refused: [Infinity] }),
    end: num(3, { optional: true, refused: [Infinity, 1e300] }),
    step: num(1, { optional: true, refused: [0, 1e-300] }),
    options: create,
  }),
  linspace: row(p.linspace, {
    start: num(0),
    end: num(1),
    count: int(3, { low: 0, refused: [1e15] }),
    options: create,
  }),
  eye: row(p.eye, { n: int(3, { low: 0 }), options: create }),
  rand: row(p.rand, {
    shape: extents,
    options: options({
      dtype: word('float32', { optional: true }),
      generator: thing(() => new p.Generator(1), { optional: true }),
    }),
  }),
  randn: row(p.randn, {
    shape: extents,
    options: options({
      dtype: word('float32', { optional: true }),
      generator: thing(() => new p.Generator(1), { optional: true }),
    }),
  }),
  randint: row(p.randint, {
    low: int(0),
    high: int(5, { refused: [0, -1] }),
    shape: extents,
    options: options({ generator: thing(() => new p.Generator(1), { optional: true }) }),
  }),
  manualSeed: row(p.manualSeed, { seed: int(1, { low: 0 }) }),
  Generator: row((s: number) => new p.Generator(s), { seed: int(1, { optional: true, low: 0 }) }),
  // Engine.
  setThreads: row(p.setThreads, { n: int(p.threads(), { low: 1 }) }),
  ...Object.fromEntries(
    (['deviceMemory', 'elapsed', 'emptyCache', 'synchronize'] as const).map((name) => {
      const device = value(() => 'cuda', {
        'an unknown device': 'abacus',
        'a number': 7,
        null: null,
        'an object': {},
        undefined,
      })
      return [name, { ...row(functions[name] as () => unknown, { device }), runs: false }]
    }),
  ),
  recycledMemory: row(p.recycledMemory, { limit: num(2 ** 30, { optional: true, low: 0 }) }),
  // Autograd.
  noGrad: row(p.noGrad, { fn: thing(() => () => 1) }),
  scope: row(p.scope, { fn: thing(() => () => 1) }),
  grad: row(p.grad, {
    output: value(() => squares(shared), {
      undefined,
      null: null,
      'a number': 7,
      'not a scalar': () => shared.mul(2),
    }),
    inputs: list(() => [shared], { bad: [null, 7] }),
  }),
  gradcheck: row(p.gradcheck, {
    fn: thing(() => (z: p.Tensor) => z.mul(z).sum()),
    inputs: list(() => [t([3], 'float64')], { bad: [null, 7, ints([1])] }),
    options: options({
      step: num(1e-6, { optional: true, refused: [0, -1] }),
      atol: num(1e-5, { optional: true, low: 0 }),
      rtol: num(1e-5, { optional: true, low: 0 }),
    }),
  }),
  hessian: row(p.hessian, { fn: thing(() => squares), x: x(vector, { refused: ['int32'] }) }),
  hvp: row(p.hvp, {
    fn: thing(() => squares),
    x: x(vector, { refused: ['int32'] }),
    v: x(vector, { shapes: [[2]] }),
  }),
  jacobian: row(p.jacobian, {
    fn: thing(() => (z: p.Tensor) => z.mul(z)),
    inputs: list(() => [vector()], { bad: [null, 7, ints([1])], refused: [[]] }),
  }),
  jvp: row(p.jvp, {
    fn: thing(() => (z: p.Tensor) => z.mul(z)),
    inputs: list(() => [vector()], { bad: [null, 7, ints([1])], refused: [[]] }),
    tangents: list(() => [vector()], { bad: [null, 7, t([2])], refused: [[]] }),
  }),
  vjp: row(p.vjp, {
    fn: thing(() => (z: p.Tensor) => z.mul(z)),
    inputs: list(() => [vector()], { bad: [null, 7, ints([1])], refused: [[]] }),
    v: x(vector, { shapes: [[2]] }),
  }),
  checkpoint: row(p.checkpoint, {
    fn: thing(() => (z: p.Tensor) => z.mul(z)),
    'inputs[0]': x(leaf, { strict: true }),
  }),
  checkpointWith: row(p.checkpointWith, {
    generators: list(() => [new p.Generator(1)], { bad: [7, null] }),
    fn: thing(() => (z: p.Tensor) => z.mul(z)),
    'inputs[0]': x(leaf, { strict: true }),
  }),
  ...each(['perSampleGrads', 'perSampleSquares'], {
    source: list(() => [shared], { bad: [null, 7] }),
    losses: value(() => m().matmul(shared), {
      undefined,
      null: null,
      'a number': 7,
      'a matrix': () => m().mul(shared),
      'a constant': () => t([2]),
    }),
  }),
}
