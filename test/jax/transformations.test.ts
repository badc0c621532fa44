import { grad, init, type JsTree, numpy as np, tree } from '@jax-js/jax'
import { test } from 'tap'
import { ArgumentError } from '../../lib/index.js'
import {
  adamw,
  applyUpdates,
  dion,
  type GradientTransformation,
  lion,
  muon,
  norMuon,
  scaleByMuon,
  scaleByNorMuon,
} from '../../lib/jax/index.js'
import { AdamW, Dion, Lion, Muon, NorMuon } from '../../lib/optim/index.js'
import { relativeError, wave } from '../fixtures.js'

await init('cpu')

const array = (seed: number, shape: number[]) =>
  np.array(
    wave(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ) as Float32Array<ArrayBuffer>,
    { shape },
  )
const bare = (seed: number, shape: number[]) => ({
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
  shape,
})
type Net = { w: np.Array; b: np.Array }[]
const shapes = [[6, 8], [8], [8, 2], [2]]
const net = (seed: number): Net => [
  { w: array(seed, [6, 8]), b: array(seed + 1, [8]) },
  { w: array(seed + 2, [8, 2]), b: array(seed + 3, [2]) },
]

/** Parameters after some steps with given gradients. */
function run(solver: GradientTransformation, steps: number, params: Net = net(1)): Net {
  let state = solver.init(tree.ref(params) as Net)
  let now = params
  for (let s = 0; s < steps; s++) {
    const [updates, next] = solver.update(net(100 + 10 * s), state, tree.ref(now) as Net)
    state = next
    now = applyUpdates(now, updates)
  }
  tree.dispose(state)
  return now
}

test('the same as palimpsest/optim on bare arrays, schedules and decay included', async (t) => {
  const hidden = { lr: 0.02, compute: 'float32', outputAxis: 'last', weightDecay: 0.1 } as const
  const rest = { lr: 0.02, weightDecay: 0 }
  const rate = (count: number) => 0.02 / (1 + count)
  const cases: [GradientTransformation, typeof Muon | typeof NorMuon | typeof Dion, object][] = [
    [muon(rate, { compute: 'float32' }), Muon, hidden],
    [norMuon(rate, { compute: 'float32', weightDecay: 0.1 }), NorMuon, hidden],
    [dion(rate, { rankFraction: 0.5 }), Dion, { lr: 0.02, outputAxis: 'last', rankFraction: 0.5 }],
  ]
  for (const [solver, Class, options] of cases) {
    const params = shapes.map((shape, i) => bare(1 + i, shape))
    const [w1, b1, w2, b2] = params
    const groups = { hidden: { params: [w1] }, rest: { params: [w2, b1, b2], ...rest } }
    const optimizer = new Class(groups as never, options as never)
    for (let s = 0; s < 4; s++) {
      const [gw1, gb1, gw2, gb2] = shapes.map((shape, i) => bare(100 + 10 * s + i, shape))
      for (const group of optimizer.paramGroups) group.lr = rate(s)
      optimizer.step([gw1, gw2, gb1, gb2] as never)
    }
    const result = run(solver, 4)
    for (const [i, x] of [result[0]?.w, result[0]?.b, result[1]?.w, result[1]?.b].entries()) {
      t.ok(
        relativeError(
          (x as np.Array).dataSync() as Float32Array,
          (params[i] as { data: Float32Array }).data,
        ) < 2e-6,
      )
    }
  }
  for (const [solver, Class] of [
    [adamw(0.1), AdamW],
    [lion(0.1), Lion],
  ] as const) {
    const p = bare(1, [6, 8])
    new Class([p], { lr: 0.1 }).step([bare(5, [6, 8])])
    const state = solver.init(array(1, [6, 8]))
    const [u, next] = solver.update(array(5, [6, 8]), state, array(1, [6, 8]))
    t.ok(relativeError(applyUpdates(array(1, [6, 8]), u).dataSync() as Float32Array, p.data) < 1e-6)
    tree.dispose(next)
  }
})

test('scaleBy… gives the direction, to be chained', async (t) => {
  for (const [scaled, whole] of [
    [scaleByMuon({ compute: 'float32' }), muon(0.5, { compute: 'float32', weightDecay: 0 })],
    [scaleByNorMuon({ compute: 'float32' }), norMuon(0.5, { compute: 'float32', weightDecay: 0 })],
  ] as const) {
    const [a] = scaled.update(net(5), scaled.init(net(1)))
    const [b] = whole.update(net(5), whole.init(net(1)))
    const [x, y] = [a[0]?.w as np.Array, b[0]?.w as np.Array]
    t.ok(relativeError(x.dataSync() as Float32Array, y.mul(-2).dataSync() as Float32Array) < 1e-6)
  }
})

test('a small problem is learned with gradients from jax', async (t) => {
  const x = array(7, [12, 6])
  const squares = (p: Net) => {
    const [first, second] = p as [Net[number], Net[number]]
    const y = np.matmul(np.tanh(np.matmul(x.ref, first.w).add(first.b)), second.w).add(second.b)
    const off = y.sub(1)
    return off.ref.mul(off).mean()
  }
  const slopesOf = grad(squares) as unknown as (p: Net) => Net
  let params = net(1)
  const solver = norMuon(0.05)
  let state = solver.init(tree.ref(params) as Net)
  const first = squares(tree.ref(params) as Net).item() as number
  for (let s = 0; s < 60; s++) {
    const slopes = slopesOf(tree.ref(params) as Net)
    const [updates, next] = solver.update(slopes, state, tree.ref(params) as Net)
    state = next
    params = applyUpdates(params, updates)
  }
  const last = squares(params).item() as number
  t.ok(last < 0.05 * first, `${first} → ${last}`)
})

test('a gradient that is not finite gives no update and no step', async (t) => {
  const solver = norMuon(0.1, { weightDecay: 0 })
  const bad = array(5, [6, 8])
  const [u, state] = solver.update(bad.mul(NaN), solver.init(array(1, [6, 8])))
  t.ok((u.dataSync() as Float32Array).every((v) => v === 0))
  t.equal((state as { count: np.Array }).count.item(), 0)
})

test('wrong input', async (t) => {
  t.throws(() => muon('fast' as never), ArgumentError)
  t.throws(
    () => norMuon(0.1).update(array(1, [3, 4]), norMuon(0.1).init(array(1, [3, 4]))),
    ArgumentError,
    'decay without parameters',
  )
  t.throws(
    () =>
      muon(0.1).update(
        array(1, [3, 4]),
        muon(0.1).init([array(1, [3, 4]), array(1, [2])] as JsTree<np.Array>) as never,
      ),
    ArgumentError,
  )
  t.throws(() => muon(0.1, { momentums: 1 } as never).init(array(1, [3, 4])), ArgumentError)
})
