import { test } from 'tap'
import { AbortError, ArgumentError, ones, ShapeError } from '../../lib/index.js'
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

test('one optimizer drives both families as two would', async (t) => {
  const [a, b, c, d] = [matrix(1), matrix(2, [7]), matrix(1), matrix(2, [7])]
  const both = new NorMuon([
    { params: [a], lr: 0.02 },
    { params: [b], algorithm: 'adamw', lr: 0.1 },
  ])
  const [first, second] = [new NorMuon([c], { lr: 0.02 }), new AdamW([d], { lr: 0.1 })]
  for (let s = 0; s < 3; s++) {
    const [g, h] = [matrix(10 + s), matrix(20 + s, [7])]
    both.step([g, h])
    first.step([g])
    second.step([h])
  }
  t.same(a.data, c.data)
  t.same(b.data, d.data)
  const again = new NorMuon([
    { params: [matrix()] },
    { params: [matrix(2, [7])], algorithm: 'adamw' },
  ])
  again.loadStateDict(both.stateDict())
  t.same(again.stateDict(), both.stateDict())
  t.equal(again.paramGroups[1]?.lr, 0.1)
  const other = new NorMuon([
    { params: [matrix()] },
    { params: [matrix(2, [7])], algorithm: 'lion' },
  ])
  t.throws(() => other.loadStateDict(both.stateDict()), ArgumentError)
})

test('what muonGroups returns is an optimizer’s parameters', async (t) => {
  const net = new nn.Sequential(
    new nn.Linear(4, 8, { activation: 'relu' }),
    new nn.Linear(8, 8),
    new nn.Linear(8, 2),
  )
  const optimizer = new NorMuon(muonGroups(net, { hidden: { lr: 0.02 }, rest: { lr: 1e-3 } }))
  t.same(
    optimizer.paramGroups.map(({ algorithm, lr, params }) => [algorithm, lr, params.length]),
    [
      ['normuon', 0.02, 2],
      ['adamw', 1e-3, 4],
    ],
  )
  nn.crossEntropy(net.call(ones([3, 4])), ones([3]).to('int32')).backward()
  t.equal(optimizer.step(), true)
  const sgd = new Muon(muonGroups(net, { rest: { algorithm: 'sgd', momentum: 0.9 } }))
  t.equal(sgd.paramGroups[1]?.algorithm, 'sgd')
})

test('muonGroups: lists and a function override the rule', async (t) => {
  const named = {
    'wte.weight': matrix(),
    'encoder/pos_embedding': matrix(),
    'blocks.0.attn.weight': matrix(),
    'blocks.0.bias': matrix(1, [3]),
    'blocks.0.mlp.weight': matrix(),
    'lm_head.weight': matrix(),
  }
  const hidden = (options: Parameters<typeof muonGroups>[1]) => {
    const { params } = muonGroups(named, options).hidden
    return Object.entries(named).flatMap(([name, p]) => (params.includes(p) ? [name] : []))
  }
  t.same(hidden({}), ['blocks.0.attn.weight', 'blocks.0.mlp.weight'])
  t.same(hidden({ toRest: [/attn/] }), ['blocks.0.mlp.weight'])
  t.same(hidden({ toHidden: ['lm_head.weight'], toRest: [/^blocks/] }), ['lm_head.weight'])
  t.same(hidden({ isHidden: (name) => (name.startsWith('wte') ? true : undefined) }).length, 3)
  t.same(hidden({ isHidden: () => false }), [])
  class Embedding extends nn.Linear {}
  const net = new nn.Sequential(new Embedding(3, 4), new nn.Linear(4, 4), new nn.Linear(4, 4))
  t.equal(muonGroups(net).hidden.params.length, 1, 'a module of embeddings')
  t.throws(() => muonGroups(null as never), ArgumentError)
  const gpt = new nn.GPT({ vocabulary: 5, context: 4, layers: 2, heads: 1, width: 4 })
  t.equal(muonGroups(gpt).hidden.params.length, 8, 'tied embeddings: every matrix of the blocks')
  const vit = new nn.VisionTransformer({
    imageSize: 4,
    patchSize: 2,
    classes: 3,
    layers: 1,
    heads: 1,
    width: 4,
  })
  t.equal(
    muonGroups(vit).hidden.params.length,
    5,
    'the patches and the block, not positions or head',
  )
})

test('clipping: over the whole optimizer, then over each group', async (t) => {
  const run = (whole: number | undefined, own: number | undefined) => {
    const [a, b] = [matrix(1, [2]), matrix(2, [2])]
    const before = [...a.data, ...b.data]
    const sgd = new SGD([{ params: [a], maxGradNorm: own }, { params: [b] }], {
      lr: 1,
      maxGlobalGradNorm: whole,
    })
    sgd.step([
      { data: Float32Array.of(3, 0), shape: [2] },
      { data: Float32Array.of(0, 4), shape: [2] },
    ])
    t.ok(Math.abs(sgd.gradNorm - 5) < 1e-12)
    return [...a.data, ...b.data].map((x, i) => (before[i] as number) - x)
  }
  const near = (x: number[], y: number[]) =>
    t.ok(Math.max(...x.map((v, i) => Math.abs(v - (y[i] as number)))) < 1e-5)
  near(run(undefined, undefined), [3, 0, 0, 4])
  near(run(1, undefined), [0.6, 0, 0, 0.8])
  near(run(undefined, 1), [1, 0, 0, 4])
  near(run(1, 0.3), [0.3, 0, 0, 0.8])
  near(run(10, 10), [3, 0, 0, 4])
})

test('asynchronous steps of several groups: all or nothing', async (t) => {
  const make = () => {
    const p = [matrix(1, [256, 256]), matrix(2, [64, 64]), matrix(3, [9])]
    const groups = [
      { params: [p[0]] },
      { params: [p[1]], lr: 0.1 },
      { params: [p[2]], algorithm: 'adamw' },
    ]
    return { p, optimizer: new NorMuon(groups as never) }
  }
  const grads = [matrix(4, [256, 256]), matrix(5, [64, 64]), matrix(6, [9])]
  const [one, two] = [make(), make()]
  one.optimizer.step(grads)
  const running = two.optimizer.stepAsync({ grads })
  t.throws(() => two.optimizer.step(grads), ArgumentError, 'one step at a time')
  t.throws(() => two.optimizer.loadStateDict(one.optimizer.stateDict()), ArgumentError)
  t.equal(await running, true)
  t.same(two.p, one.p)
  t.equal(two.optimizer.gradNorm, one.optimizer.gradNorm)
  const before = structuredClone(two.p)
  const state = two.optimizer.stateDict()
  const controller = new AbortController()
  const aborted = two.optimizer.stepAsync({ grads, signal: controller.signal })
  controller.abort()
  await t.rejects(aborted, AbortError)
  const bad = { data: Float32Array.of(...wave(8, 1), NaN), shape: [9] }
  t.equal(await two.optimizer.stepAsync({ grads: [...grads.slice(0, 2), bad] }), false)
  t.equal(two.optimizer.skippedSteps, 1)
  t.same(two.p, before)
  t.same(two.optimizer.stateDict(), state)
})

test('gradients whose squares overflow are skipped too', async (t) => {
  const p = matrix(1, [3])
  const before = p.data.slice()
  const adamw = new AdamW([p])
  t.equal(adamw.step([{ data: Float32Array.of(1, 1e30, 0), shape: [3] }]), false)
  t.same(p.data, before)
  adamw.maxGlobalGradNorm = 1
  t.equal(adamw.step([{ data: Float32Array.of(1, 1e30, 0), shape: [3] }]), true, 'clipped')
})

test('state in bfloat16: half the memory, near the float32 run, resumed to the same bits', async (t) => {
  for (const Class of [SGD, AdamW, Lion, Muon, NorMuon]) {
    const options = { lr: 1e-3, ...(Class === SGD ? { momentum: 0.9 } : {}) }
    const [a, b, c] = [matrix(), matrix(), matrix()]
    const full = new Class([a], options)
    const half = new Class([b], { ...options, stateDtype: 'bfloat16' })
    const first = new Class([c], { ...options, stateDtype: 'bfloat16' })
    let resumed = first
    for (let s = 0; s < 20; s++) {
      full.step([matrix(10 + s)])
      half.step([matrix(10 + s)])
      resumed.step([matrix(10 + s)])
      if (s === 9) {
        resumed = new Class([c], { ...options, stateDtype: 'bfloat16' })
        resumed.loadStateDict(structuredClone(first.stateDict()))
      }
    }
    const moved = relativeError(a.data, wave(240, 1))
    const apart = relativeError(b.data, a.data)
    // Lion takes signs, which a rounding can flip.
    t.ok(
      apart > 0 && apart < (Class === Lion ? 0.2 : 0.05) * moved,
      `${Class.name}: ${apart} of ${moved}`,
    )
    t.same(c.data, b.data)
    const arrays = Object.values(half.stateDict().state[0] ?? {})
    t.ok(arrays.some((x) => x instanceof Uint16Array && x.length === 240))
  }
})

test('fused queries, keys and values: each block as a parameter of its own', async (t) => {
  for (const Class of [Muon, NorMuon]) {
    const options = { lr: 0.1, compute: 'float32' } as const
    const fused = matrix(1, [20, 6])
    const sizes = [12, 4, 4]
    let row = 0
    const parts = sizes.map((rows) => {
      const data = fused.data.slice(row * 6, (row += rows) * 6)
      return { data, shape: [rows, 6] }
    })
    const whole = new Class([fused], { ...options, splitSizes: sizes })
    const apart = new Class(parts, options)
    for (let s = 0; s < 3; s++) {
      const g = matrix(10 + s, [20, 6])
      let at = 0
      whole.step([g])
      apart.step(
        parts.map(({ data, shape }) => ({ data: g.data.slice(at, (at += data.length)), shape })),
      )
    }
    const joined = Float32Array.from(parts.flatMap(({ data }) => [...data]))
    t.ok(relativeError(fused.data, joined) < 1e-6)
    t.throws(() => new Class([fused], { splitSizes: [12, 4] }), ShapeError)
    t.throws(() => new Class([fused], { splitSizes: [20], outputAxis: 'last' }), ArgumentError)
  }
})

test('outputAxis last: a transposed parameter is trained as its transpose', async (t) => {
  const transposed = (x: Float32Array, rows: number, cols: number) =>
    Float32Array.from(
      { length: rows * cols },
      (_, i) => x[(i % rows) * cols + Math.floor(i / rows)] as number,
    )
  for (const Class of [Muon, NorMuon]) {
    for (const adjustLr of ['original', 'match-rms-adamw', 'spectral', 'none'] as const) {
      const options = { lr: 0.1, compute: 'float32', adjustLr } as const
      const a = matrix(1, [8, 27])
      const b = { data: transposed(a.data, 8, 27), shape: [3, 3, 3, 8] }
      const one = new Class([a], options)
      const two = new Class([b], { ...options, outputAxis: 'last' })
      for (let s = 0; s < 3; s++) {
        const g = matrix(10 + s, [8, 27])
        one.step([g])
        two.step([{ data: transposed(g.data, 8, 27), shape: [3, 3, 3, 8] }])
      }
      t.ok(relativeError(b.data, transposed(a.data, 8, 27)) < 1e-6)
    }
  }
})

test('groups can be added; what is not an option is refused', async (t) => {
  const [a, b] = [matrix(), matrix(2, [5])]
  const optimizer = new Muon([a])
  optimizer.addParamGroup({ params: [b], algorithm: 'adamw', lr: 0.1 })
  optimizer.step([matrix(3), matrix(4, [5])])
  t.equal(optimizer.paramGroups.length, 2)
  t.throws(() => optimizer.addParamGroup({ params: [b] }), ShapeError, 'a vector')
  t.throws(
    () => optimizer.addParamGroup({ params: [matrix()], weight_decay: 1 } as never),
    /weightDecay/,
  )
  t.throws(() => new AdamW([b], { momentum: 0.9 } as never), ArgumentError)
  t.throws(() => new AdamW([b], { stateDtype: 'float16' as never }), ArgumentError)
  t.throws(() => new AdamW([b], { nonFinite: 'ignore' as never }), ArgumentError)
  t.throws(() => new AdamW([{ params: [b], algorithm: 'adam' as never }]), ArgumentError)
  t.throws(() => new AdamW([b], { maxGlobalGradNorm: -1 }), ArgumentError)
  t.equal(optimizer.paramGroups.length, 2)
})
