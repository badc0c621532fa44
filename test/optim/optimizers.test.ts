import { test } from 'tap'
import {
  AbortError,
  ArgumentError,
  DTypeError,
  NumericalError,
  ones,
  ShapeError,
  setThreads,
  tensor,
  threads,
} from '../../lib/index.js'
import { orthogonalize } from '../../lib/linalg/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW, Lion, Muon, muonGroups, NorMuon, SGD } from '../../lib/optim/index.js'
import { relativeError, wave } from '../fixtures.js'

const matrix = (seed = 1, shape = [12, 20]) => ({
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
  shape,
})

test('Muon: kernels are matrices, stacked matrices are orthogonalized one by one', async (t) => {
  const g = matrix(3, [4, 3, 2, 2])
  const flat = { data: new Float32Array(48), shape: [4, 12] }
  const kernel = { data: new Float32Array(48), shape: [4, 3, 2, 2] }
  new Muon([flat]).step([{ data: g.data, shape: [4, 12] }])
  new Muon([kernel]).step([g])
  t.same(kernel.data, flat.data)
  const stacked = { data: new Float32Array(480), shape: [2, 12, 20] }
  const gs = matrix(5, [2, 12, 20])
  new Muon([stacked], { batchAxes: 1, compute: 'float32' }).step([gs])
  const second = { data: new Float32Array(240), shape: [12, 20] }
  new Muon([second], { compute: 'float32' }).step([{ data: gs.data.slice(240), shape: [12, 20] }])
  t.ok(relativeError(stacked.data.slice(240), second.data) < 1e-6)
})

test('zero gradients leave p(1 − lr·λ)', async (t) => {
  for (const Class of [Muon, NorMuon]) {
    const p = matrix()
    const before = p.data.slice()
    new Class([p], { lr: 0.5, weightDecay: 0.1 }).step([
      { data: new Float32Array(240), shape: p.shape },
    ])
    t.ok(
      relativeError(
        p.data,
        before.map((x) => x * 0.95),
      ) < 1e-6,
    )
  }
})

test('state: saved and resumed to the same bits', async (t) => {
  for (const make of [
    (p: ReturnType<typeof matrix>) => new SGD([p], { lr: 0.1, momentum: 0.9 }),
    (p: ReturnType<typeof matrix>) => new AdamW([p], { amsgrad: true }),
    (p: ReturnType<typeof matrix>) => new Lion([p]),
    (p: ReturnType<typeof matrix>) => new Muon([p]),
    (p: ReturnType<typeof matrix>) => new NorMuon([p]),
  ]) {
    const [a, b] = [matrix(), matrix()]
    const whole = make(a)
    for (let i = 0; i < 6; i++) whole.step([matrix(10 + i)])
    const first = make(b)
    for (let i = 0; i < 3; i++) first.step([matrix(10 + i)])
    const resumed = make(b)
    resumed.loadStateDict(structuredClone(first.stateDict()))
    for (let i = 3; i < 6; i++) resumed.step([matrix(10 + i)])
    t.same(b.data, a.data)
  }
})

test('async steps give the same bits; aborting changes nothing', async (t) => {
  const [a, b] = [matrix(), matrix()]
  new NorMuon([a]).step([matrix(4)])
  await new NorMuon([b]).stepAsync({ grads: [matrix(4)] })
  t.same(b.data, a.data)
  const before = b.data.slice()
  await t.rejects(
    new NorMuon([b]).stepAsync({ grads: [matrix(4)], signal: AbortSignal.abort() }),
    AbortError,
  )
  t.same(b.data, before)
  const big = { data: wave(512 * 512, 1), shape: [512, 512] }
  const kept = big.data.slice()
  const controller = new AbortController()
  const running = new Muon([big]).stepAsync({
    grads: [{ data: wave(512 * 512, 2), shape: [512, 512] }],
    signal: controller.signal,
  })
  controller.abort()
  await t.rejects(running, AbortError)
  t.same(big.data, kept)
})

test('NaN and Inf: nothing changes, in no group; or the step is skipped and counted', async (t) => {
  const [a, b] = [matrix(), matrix(2)]
  const before = [a.data.slice(), b.data.slice()]
  const bad = matrix(3)
  bad.data[7] = NaN
  const groups = [{ params: [a] }, { params: [b], lr: 0.5 }]
  const options = { nonFinite: 'throw' } as const
  for (const make of [
    () => new SGD(groups, options),
    () => new AdamW(groups, options),
    () => new Muon(groups, options),
  ]) {
    t.throws(() => make().step([matrix(4), bad]), NumericalError)
    t.same([a.data, b.data], before)
  }
  const skipping = new AdamW(groups)
  t.equal(skipping.step([matrix(4), bad]), false)
  t.equal(skipping.skippedSteps, 1)
  t.same([a.data, b.data], before)
})

test('gradients come from parameters, groups have options, clipping limits the norm', async (t) => {
  const x = ones([2, 2], { requiresGrad: true })
  const y = ones([2], { requiresGrad: true })
  const optimizer = new SGD([{ params: [x], lr: 0.1 }, { params: [y] }], { lr: 1, maxGradNorm: 1 })
  x.matmul(y).sum().backward()
  optimizer.step()
  t.ok(Math.abs((x.data[0] as number) - (1 - 0.1 * 0.5)) < 1e-6, 'norm 2 clipped to 1')
  t.ok(Math.abs((y.data[0] as number) - (1 - Math.SQRT1_2)) < 1e-6)
  optimizer.zeroGrad()
  t.equal(x.grad, null)
})

test('the split of parameters', async (t) => {
  const net = new nn.Sequential(
    new nn.Conv2d(1, 4, 3),
    new nn.Flatten(),
    new nn.Linear(4, 8),
    new nn.Linear(8, 2),
  )
  const { hidden, rest } = muonGroups(net, { hidden: { lr: 0.02 }, rest: { lr: 1e-3 } })
  t.same(
    hidden.params.map((p) => p.shape),
    [
      [4, 1, 3, 3],
      [8, 4],
    ],
  )
  t.equal(hidden.lr, 0.02)
  t.equal(rest.params.length, 4)
  const named = muonGroups({
    'wte.weight': matrix(),
    'h.0.weight': matrix(),
    'lm_head.weight': matrix(),
  })
  t.equal(named.hidden.params.length, 1)
})

test('wrong input gives typed errors and changes nothing', async (t) => {
  const p = matrix()
  const before = p.data.slice()
  t.throws(() => new SGD([]), ArgumentError)
  t.throws(() => new SGD([p], { lr: -1 }), ArgumentError)
  t.throws(() => new SGD([p], { nesterov: true }), ArgumentError)
  t.throws(() => new AdamW([p], { betas: [1, 0.9] }), ArgumentError)
  t.throws(() => new Muon([{ data: new Float32Array(3), shape: [3] }]), ShapeError)
  t.throws(() => new Muon([p], { adjustLr: 'best' as 'none' }), ArgumentError)
  t.throws(() => new SGD([p, p]), ArgumentError)
  t.throws(() => new SGD([{ data: new Float64Array(3), shape: [3] }]), DTypeError)
  const sgd = new SGD([p])
  t.throws(() => sgd.step([]), ArgumentError)
  t.throws(() => sgd.step([matrix(1, [20, 12])]), ShapeError)
  t.throws(() => sgd.loadStateDict(new AdamW([matrix()]).stateDict()), ArgumentError)
  t.same(p.data, before)
  t.throws(() => orthogonalize(tensor([1, 2])), ShapeError)
  t.throws(() => orthogonalize(tensor([[NaN, 1]])), NumericalError)
  t.throws(() => orthogonalize(matrix(), { coefficients: 'best' as 'muon' }), ArgumentError)
})

test('the same bits for 1, 2, 3 and 5 threads', async (t) => {
  const before = threads()
  const run = () => {
    const ps = [matrix(1, [100, 300]), matrix(2, [64, 64]), matrix(3, [64, 64])]
    const optimizer = new NorMuon(ps)
    for (let i = 0; i < 2; i++) optimizer.step(ps.map(({ shape }, k) => matrix(9 + k + i, shape)))
    return ps.map(({ data }) => data)
  }
  setThreads(1)
  const expected = run()
  for (const n of [2, 3, 5]) {
    setThreads(n)
    t.same(run(), expected)
  }
  setThreads(before)
})
