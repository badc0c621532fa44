import { test } from 'tap'
import * as p from '../../lib/index.js'
import { ArgumentError, DTypeError, ShapeError, Tensor, tensor } from '../../lib/index.js'
import { fold, unfold } from '../../lib/nn/index.js'
import { ints } from '../autograd/values.js'
import { fixture, relativeError, wave } from '../fixtures.js'

function w(shape: number[], seed = 1): Tensor {
  const n = shape.reduce((a, b) => a * b, 1)
  return Tensor.from({ data: Float64Array.from(wave(n, seed)), shape })
}

const { cases } = fixture('tensor_ops')
const x = w([3, 4])
const y = w([3, 4], 2)
const cube = w([2, 3, 4], 3)
const image = w([2, 2, 4, 5], 4)
const index = ints([2, 0, 1, 1, 2, 2, 0, 1], [2, 4])
const src = w([2, 4], 5)
const columns = () => unfold(image, [2, 3], { dilation: [2, 1], padding: 1, stride: [1, 2] })

const ours: Record<string, () => Tensor> = {
  gather: () => x.gather(0, index),
  scatter_add: () => x.scatterAdd(0, index, src),
  index_add: () => x.indexAdd(1, [1, 1, 0], w([3, 3], 6), 2),
  index_copy: () => p.indexCopy(x, 1, [3, 0], w([3, 2], 6)),
  masked_select: () => x.maskedSelect(x.gt(0.1)),
  nonzero: () => x.gt(0.1).nonzero(),
  one_hot: () => p.oneHot(ints([1, 0, 3, 2], [2, 2]), 5),
  bincount: () => p.bincount([3, 1, 1], { minLength: 6 }),
  cumsum: () => x.cumsum(1),
  cumprod: () => x.cumprod(0),
  cummax: () => p.cummax(x, 1).values,
  'cummax indices': () => p.cummax(x, 1).indices,
  'cummin indices': () => p.cummin(x, 0).indices,
  logsumexp: () => x.logsumexp(1),
  var: () => x.variance(1),
  std: () => cube.std([0, 2], false, 0),
  'pad negative': () => x.pad([-1, 2, 1, -1], { value: 7 }),
  unfold: columns,
  fold: () => fold(columns(), [4, 5], [2, 3], { dilation: [2, 1], padding: 1, stride: [1, 2] }),
  windows: () => x.unfold(1, 3, 1),
  tril: () => cube.tril(-1),
  triu: () => x.triu(1),
  diagonal: () => cube.diagonal(1, 0, 2),
  diag: () => p.diag(w([3]), -1),
  roll: () => x.roll(-3, 1),
  flip: () => cube.flip([0, 2]),
  repeat: () => x.repeat(2, 1, 2),
  repeat_interleave: () => x.repeatInterleave([2, 0, 1], 0),
  movedim: () => p.moveAxis(cube, 0, 2),
  lerp: () => x.lerp(y, 0.3),
  addcmul: () => x.addcmul(y, x, 0.5),
  addcdiv: () => x.addcdiv(y, x, 0.5),
  outer: () => p.outer(w([3]), w([4], 2)),
  'einsum ij,kj->ik': () => p.einsum('ij,kj->ik', x, y),
  'einsum bij,ij->b': () => p.einsum('bij,ij->b', cube, x),
  'einsum ...j,kj->...k': () => p.einsum('...j,kj->...k', cube, x),
  'einsum ii': () => p.einsum('ii', x.slice(1, 0, 3)),
  'einsum ba': () => p.einsum('ba', x),
  'einsum ab,bc,ad->dc': () => p.einsum('ab,bc,ad->dc', x, w([4, 2], 6), y),
  isclose: () =>
    x.isClose(x.add(tensor([0, 1e-9, 1e-3, 1e-7], { dtype: 'float64' })), { rtol: 1e-6, atol: 0 }),
}
for (const mode of ['sum', 'prod', 'mean', 'amax', 'amin'] as const) {
  for (const self of [true, false]) {
    const name = `scatter_reduce ${mode} ${self ? 'True' : 'False'}`
    ours[name] = () => p.scatterReduce(x, 0, index, src, mode, self)
  }
}
for (const order of [0, 1, 2, 3, 0.5, Infinity, -Infinity]) {
  ours[`norm ${String(order).replace('Infinity', 'inf')}`] = () => x.norm(1, false, order)
}
for (const mode of ['constant', 'reflect', 'replicate', 'circular'] as const) {
  ours[`pad ${mode}`] = () => image.pad([1, 2, 2, 1], { mode })
}

test('operations agree with PyTorch', async (t) => {
  t.same(Object.keys(ours).sort(), Object.keys(cases).sort())
  for (const [name, run] of Object.entries(ours)) {
    const got = run().to('float64').clone().data
    const expected = cases[name] as number[]
    t.equal(got.length, expected.length, name)
    const error = expected.every((v, i) => v === got[i]) ? 0 : relativeError(got, expected)
    t.ok(error < 1e-12, `${name}: ${error}`)
  }
})

test('einsum: integers, one operand, what does not fit', async (t) => {
  const i = ints([1, 2, 3, 4], [2, 2])
  t.same(p.einsum('ij,jk', i, i).toArray(), [
    [7, 10],
    [15, 22],
  ])
  t.equal(p.einsum('ij,jk', i, i).dtype, 'int32')
  t.equal(p.einsum('ij->', x).item().toFixed(9), x.sum().item().toFixed(9))
  t.same(p.einsum('ij->ji', x).toArray(), x.T.toArray())
  t.same(p.einsum('i,i', w([0]), w([0])).item(), 0)
  for (const [spec, ...operands] of [
    ['ij', x, x],
    ['ijk', x],
    ['ij->ik', x],
    ['ij->ii', x],
    ['i1', x],
    ['ij->->i', x],
  ] as [string, ...Tensor[]][]) {
    t.throws(() => p.einsum(spec, ...operands), ArgumentError, spec)
  }
  t.throws(() => p.einsum('ij,jk', x, x), ShapeError)
  t.throws(() => p.einsum('ii', x), ShapeError)
})

test('scatter: the last entry wins, and views and shorter indices are fine', async (t) => {
  const base = p.zeros([2, 3])
  t.same(base.scatter(1, ints([1, 1], [1, 2]), tensor([[5, 6]])).toArray(), [
    [0, 6, 0],
    [0, 0, 0],
  ])
  t.same(base.T.scatter(0, ints([2, 0], [2, 1]), 9).toArray(), [
    [9, 0],
    [0, 0],
    [9, 0],
  ])
  t.same(base.toArray(), p.zeros([2, 3]).toArray(), 'the original is as it was')
})

test('indices are checked', async (t) => {
  t.throws(() => x.gather(0, ints([3], [1, 1])), ArgumentError)
  t.throws(() => x.gather(0, ints([-1], [1, 1])), ArgumentError)
  t.throws(() => x.gather(0, ints([0])), ShapeError)
  t.throws(() => x.gather(0, ints(Array(5).fill(0), [1, 5])), ShapeError)
  t.throws(() => x.gather(0, tensor([[0]])), DTypeError)
  t.throws(() => x.scatter(0, ints([9], [1, 1]), 1), ArgumentError)
  t.throws(() => p.oneHot([3], 3), ArgumentError)
  t.throws(() => x.indexAdd(0, [0], w([2, 4])), ShapeError)
  t.throws(() => p.zeros([0, 2]).indexSelect([0]), ArgumentError)
  t.same(p.zeros([0, 2]).indexSelect([]).shape, [0, 2])
})

test('indexSelect of bfloat16: gradients are summed in float32', async (t) => {
  const table = p.ones([3, 2], { dtype: 'bfloat16', requiresGrad: true })
  const picks = Array(300).fill(1)
  table.indexSelect(picks).sum().backward()
  t.equal(table.grad?.dtype, 'bfloat16')
  t.same(table.grad?.toArray(), [
    [0, 0],
    [300, 300],
    [0, 0],
  ])
})

test('in place: changes the memory, refuses what a tape would miss', async (t) => {
  const a = tensor([1, 2, 3])
  const view = a.slice(0, 1)
  view
    .add_(10)
    .mul_(tensor([1, 2]))
    .sub_(1, 2)
    .div_(2)
  t.same(a.toArray(), [1, 5, 12])
  const leaf = tensor([1, 2], { requiresGrad: true })
  t.throws(() => leaf.add_(1), ArgumentError)
  p.noGrad(() => leaf.add_(1))
  t.same(leaf.toArray(), [2, 3])
  t.throws(() => a.add_(tensor([1, 2])), ShapeError)
})

test('equality', async (t) => {
  t.equal(x.equals(x.clone()), true)
  t.equal(x.equals(x.T), false)
  t.equal(x.allClose(x.add(1e-12)), true)
  t.equal(x.allClose(x.add(1e-3)), false)
  t.same(
    tensor([NaN, Infinity, Infinity])
      .isClose(tensor([NaN, Infinity, 1]))
      .toArray(),
    [0, 1, 0],
  )
  t.same(
    tensor([NaN])
      .isClose(tensor([NaN]), { equalNaN: true })
      .toArray(),
    [1],
  )
})

test('sort, argsort, topk: along every axis, stable, NaN largest', async (t) => {
  const y = tensor([
    [3, 1, 2],
    [1, 5, 1],
  ])
  t.same(y.sort().values.toArray(), [
    [1, 2, 3],
    [1, 1, 5],
  ])
  t.same(y.argsort().toArray(), [
    [1, 2, 0],
    [0, 2, 1],
  ])
  t.same(y.sort(0, true).values.toArray(), [
    [3, 5, 2],
    [1, 1, 1],
  ])
  t.same(y.topk(2).indices.toArray(), [
    [0, 2],
    [1, 0],
  ])
  t.same(y.T.topk(1, 0, false).values.toArray(), [[1, 1]])
  t.same(tensor([1, NaN, -Infinity, 2]).argsort().toArray(), [2, 0, 3, 1])
  t.same(tensor([1, 0, 1], { dtype: 'bool' }).argsort().toArray(), [1, 0, 2])
  t.same(p.zeros([0, 3]).sort(1).values.shape, [0, 3])
  t.same(p.zeros([2, 0]).topk(0).indices.shape, [2, 0])
  t.throws(() => y.topk(4), ArgumentError)
  const many = w([50, 200])
  const truth = (many.toArray() as number[][]).map((row) => [...row].sort((a, b) => a - b))
  t.same(many.sort().values.toArray(), truth)
})
