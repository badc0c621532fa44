import { test } from 'tap'
import {
  ArgumentError,
  DisposedError,
  DTypeError,
  grad,
  gradcheck,
  ShapeError,
  setThreads,
  type Tensor as T,
  Tensor,
  tensor,
  threads,
} from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { gradcheckTwice } from '../fixtures.js'

function values(shape: number[], seed = 1): T {
  const n = shape.reduce((a, b) => a * b, 1)
  const data = Float64Array.from({ length: n }, (_, i) =>
    Math.sin((i + 1) * 12.9898 + seed * 78.233),
  )
  return Tensor.from({ data, shape })
}

test('conv2d: gradients, for windows of all kinds', async () => {
  const conv = (options: nn.Conv2dOptions) => (x: T, w: T, b: T) => nn.conv2d(x, w, b, options)
  gradcheck(conv({}), [values([2, 2, 5, 4]), values([3, 2, 3, 2], 2), values([3], 3)])
  gradcheck(conv({ padding: 1 }), [values([2, 2, 4, 4]), values([3, 2, 3, 3], 2), values([3], 3)])
  gradcheck(conv({ stride: 2, padding: [1, 0] }), [
    values([1, 2, 5, 5]),
    values([2, 2, 3, 3], 2),
    values([2], 3),
  ])
  gradcheck(conv({ dilation: 2 }), [values([1, 1, 6, 5]), values([2, 1, 2, 2], 2), values([2], 3)])
  gradcheck(conv({ groups: 2 }), [values([2, 4, 3, 3]), values([6, 2, 2, 2], 2), values([6], 3)])
  gradcheck(conv({ groups: 3 }), [values([2, 3, 4, 4]), values([3, 1, 3, 3], 2), values([3], 3)])
})

test('conv2d: equals the definition', async (t) => {
  const [x, w] = [values([2, 3, 6, 5]), values([4, 3, 3, 2], 2)]
  const y = nn.conv2d(x, w, null, { stride: [2, 1], padding: [1, 1] })
  t.same(y.shape, [2, 4, 3, 6])
  const at = (v: T, i: number[]) =>
    v.data[i.reduce((sum, index, k) => sum + index * (v.strides[k] as number), 0)] as number
  for (const [n, o, i, j] of [
    [0, 0, 0, 0],
    [1, 3, 2, 5],
    [1, 2, 1, 3],
    [0, 1, 2, 0],
  ] as const) {
    let sum = 0
    for (let c = 0; c < 3; c++) {
      for (let a = 0; a < 3; a++) {
        for (let b = 0; b < 2; b++) {
          const [r, s] = [i * 2 + a - 1, j + b - 1]
          if (r >= 0 && r < 6 && s >= 0 && s < 5) sum += at(x, [n, c, r, s]) * at(w, [o, c, a, b])
        }
      }
    }
    t.ok(Math.abs(sum - at(y, [n, o, i, j])) < 1e-12)
  }
})

test('pooling: values and gradients', async (t) => {
  const x = tensor(
    [
      [
        [
          [1, 5, 2],
          [4, 3, 9],
          [7, 8, 6],
        ],
      ],
    ],
    { dtype: 'float64' },
  )
  t.same(nn.maxPool2d(x, 2, { stride: 1 }).toArray(), [
    [
      [
        [5, 9],
        [8, 9],
      ],
    ],
  ])
  t.same(nn.avgPool2d(x, 3).item(), 5)
  gradcheck((v) => nn.maxPool2d(v, 2), [values([2, 2, 4, 5])])
  gradcheck((v) => nn.maxPool2d(v, 3, { stride: 2, padding: 1 }), [values([1, 2, 5, 5])])
  gradcheck((v) => nn.avgPool2d(v, [2, 3], { stride: 1, padding: 1 }), [values([1, 2, 4, 4])])
})

test('modules: names, modes, state', async (t) => {
  const make = () =>
    new nn.Sequential(
      new nn.Linear(4, 8, { activation: 'relu' }),
      new nn.Dropout(0.5),
      new nn.Linear(8, 2),
    )
  const net = make()
  t.same(
    net.namedParameters().map(([name]) => name),
    ['0.weight', '0.bias', '2.weight', '2.bias'],
  )
  const x = tensor([[1, 2, 3, 4]])
  const other = make()
  other.loadStateDict(net.stateDict())
  t.same(other.eval().call(x).toArray(), net.eval().call(x).toArray())
  t.throws(() => other.loadStateDict({}), ArgumentError)
  t.throws(() => other.loadStateDict({ ...net.stateDict(), '0.weight': tensor([1]) }), ShapeError)
  const seen: number[] = []
  const remove = net.registerForwardHook((_m, _x, y) => void seen.push(y.size))
  net.call(x)
  remove()
  net.call(x)
  t.same(seen, [2])
})

test('losses: gradients', async () => {
  const target = values([3, 4], 5).sigmoid()
  gradcheck((x) => nn.mseLoss(x, target), [values([3, 4])])
  gradcheck((x) => nn.bceWithLogits(x, target), [values([3, 4])])
  gradcheck((x) => nn.klDiv(x.logSoftmax(), target.logSoftmax()), [values([3, 4])])
})

test('wrong input gives typed errors', async (t) => {
  t.throws(() => new nn.Linear(0, 3), ArgumentError)
  t.throws(() => new nn.Linear(4, 3).call(tensor([[1, 2]])), ShapeError)
  t.throws(() => new nn.Conv2d(1, 2, 3).call(tensor([[1, 2]])), ShapeError)
  t.throws(() => new nn.Conv2d(1, 2, 5).call(values([1, 1, 3, 3]).to('float32')), ShapeError)
  t.throws(() => nn.crossEntropy(tensor([[1, 2]]), tensor([2], { dtype: 'int32' })), ArgumentError)
  t.throws(() => nn.maxPool2d(tensor([[1]]), 2), ShapeError)
})

test('gradients of gradients: convolution, pooling, cross-entropy', async () => {
  const x = values([2, 2, 5, 4])
  gradcheckTwice(
    (v, w, b) => nn.conv2d(v, w, b, { stride: 2, padding: 1 }),
    [x, values([4, 2, 3, 2], 2), values([4], 3)],
  )
  gradcheckTwice((v, w) => nn.conv2d(v, w, null, { groups: 2 }), [x, values([4, 1, 2, 2], 2)])
  gradcheckTwice((v) => nn.maxPool2d(v, 2), [x])
  gradcheckTwice((v) => nn.avgPool2d(v, [2, 3], { stride: 1, padding: 1 }), [x])
  const targets = tensor([0, 2, -100], { dtype: 'int32' })
  const weight = values([4], 4).abs().add(0.2)
  for (const options of [{}, { weight, labelSmoothing: 0.2 }] as const) {
    const loss = (v: T) => nn.crossEntropy(v, targets, { ...options, reduction: 'none' })
    gradcheck(loss, [values([3, 4])])
    gradcheckTwice(loss, [values([3, 4])])
  }
})

test('modules: frozen parameters stay parameters; a state that fails changes nothing', async (t) => {
  const layer = new nn.Linear(1, 1)
  layer.weight.requireGrad(false)
  t.same(Object.keys(layer.stateDict()), ['weight', 'bias'])
  layer.weight.fill_(7)
  const gone = tensor([1])
  gone.dispose()
  t.throws(() => layer.loadStateDict({ weight: tensor([[1]]), bias: gone }), DisposedError)
  t.equal(layer.weight.item(), 7)
  const foreign = { weight: { data: Float32Array.of(2), shape: [1, 1] }, bias: tensor([3]) }
  layer.loadStateDict(foreign)
  t.equal(layer.weight.item(), 2)
})

test('dropout: takes floats, keeps their dtype and scale', async (t) => {
  const layer = new nn.Dropout(0.5)
  for (const dtype of ['float32', 'float64', 'bfloat16'] as const) {
    const y = layer.call(tensor(Array(64).fill(1), { dtype }))
    t.equal(y.dtype, dtype)
    t.same([...new Set((y.toArray() as number[]).toSorted((a, b) => a - b))], [0, 2])
  }
  t.throws(() => layer.call(tensor([1], { dtype: 'int32' })), DTypeError)
})

const none = undefined as unknown as T
const badCalls: Record<string, () => unknown> = {
  'conv2d of nothing': () => nn.conv2d(none, values([1, 1, 1, 1])),
  'conv2d without a kernel': () => nn.conv2d(values([1, 1, 4, 4]), none),
  'conv2d of a string': () => nn.conv2d('x' as unknown as T, values([1, 1, 1, 1])),
  'maxPool2d of nothing': () => nn.maxPool2d(none, 2),
  'avgPool2d of nothing': () => nn.avgPool2d(none, 2),
  'Linear of nothing': () => new nn.Linear(2, 3).call(none),
  'an activation that cannot be fused': () => new nn.Linear(2, 3, { activation: 'gelu' as 'relu' }),
  'an unknown precision': () => new nn.Linear(2, 3, { compute: 'int8' as 'float32' }),
  'Sequential of a number': () => new nn.Sequential(3 as unknown as nn.Module),
  'mseLoss without a target': () => nn.mseLoss(values([2]), none),
  'klDiv without a target': () => nn.klDiv(values([2]), none),
  'bceWithLogits without a target': () => nn.bceWithLogits(values([2]), none),
  'crossEntropy without targets': () => nn.crossEntropy(values([2, 3]), none),
  'an unknown reduction': () =>
    nn.crossEntropy(values([1, 3]), tensor([0], { dtype: 'int32' }), { reduction: 'max' as 'sum' }),
  'a state with a number': () =>
    new nn.Linear(1, 1).loadStateDict({ weight: 1 as unknown as T, bias: tensor([0]) }),
}

test('wrong input of each kind gives a typed error', async (t) => {
  for (const [name, call] of Object.entries(badCalls)) t.throws(call, ArgumentError, name)
})

test('linear: gradients in one call are those of the recorded operations', async (t) => {
  const before = threads()
  for (const dtype of ['float32', 'float64'] as const) {
    for (const activation of ['none', 'relu', 'tanh', 'sigmoid'] as const) {
      for (const [n, inputs, outputs] of [
        [0, 3, 2],
        [1, 5, 1],
        [20, 70, 33],
        [130, 40, 90],
      ] as const) {
        const leaves = [
          values([n, inputs]).to(dtype),
          values([outputs, inputs], 2).to(dtype),
          values([outputs], 3).to(dtype),
        ]
        const wanted = (which: number) =>
          leaves.map((x, i) => x.clone().requireGrad((which & (1 << i)) !== 0))
        const loss = (list: T[]) =>
          nn
            .linear(list[0] as T, list[1] as T, list[2] as T, activation)
            .square()
            .sum()
        const all = wanted(7)
        const expected = grad(loss(all), all, { createGraph: true })
        const bits = new Set<string>()
        for (const count of [1, 2, 3, 5]) {
          setThreads(count)
          const list = wanted(7)
          loss(list).backward()
          bits.add(list.map((x) => String(x.grad?.toArray())).join())
        }
        t.equal(bits.size, 1, 'the same bits for any number of threads')
        for (const which of [1, 2, 4, 6]) {
          const list = wanted(which)
          loss(list).backward()
          for (const [i, x] of list.entries()) {
            if (!x.requiresGrad) {
              t.equal(x.grad, null)
              continue
            }
            const scale = (expected[i] as T).abs().sum().item() + 1e-9
            const apart = (x.grad as T)
              .sub(expected[i] as T)
              .abs()
              .sum()
              .item()
            t.ok(apart <= (dtype === 'float32' ? 1e-5 : 1e-13) * scale, `${activation} ${n} ${i}`)
          }
        }
      }
    }
  }
  setThreads(before)
})
