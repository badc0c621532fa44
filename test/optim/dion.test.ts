import { test } from 'tap'
import { ArgumentError, ShapeError, setThreads, threads } from '../../lib/index.js'
import { Dion } from '../../lib/optim/index.js'
import { fixture, relativeError, wave } from '../fixtures.js'

const { cases, steps } = fixture('normuon') as { cases: Record<string, number[]>; steps: number }
const settings: Record<string, { shape: [number, number]; rank: number }> = {
  square: { shape: [16, 16], rank: 4 },
  tall: { shape: [24, 8], rank: 8 },
  wide: { shape: [6, 20], rank: 3 },
}

const matrix = (seed: number, shape: number[]) => ({
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
  shape,
})

/** An optimizer whose first right factor is the fixture's. */
function started(name: string, p: { data: Float32Array; shape: number[] }) {
  const { shape, rank } = settings[name] as { shape: [number, number]; rank: number }
  const optimizer = new Dion([p], { rankFraction: rank / Math.min(...shape) })
  const state = optimizer.stateDict()
  state.state[0] = { step: 0, q: Float32Array.from(cases[`dion ${name} q`] as number[]) }
  optimizer.loadStateDict(state)
  return optimizer
}

for (const [name, { shape }] of Object.entries(settings)) {
  test(`${name}: the reference in float64 over ${steps} steps`, async (t) => {
    const p = matrix(1, shape)
    const optimizer = started(name, p)
    for (let s = 0; s < steps; s++) optimizer.step([matrix(100 + s, shape)])
    const error = relativeError(p.data, cases[`dion ${name}`] as number[])
    t.ok(error < 2e-5, `relative difference ${error}`)
  })
}

test('the update has the rank asked for and singular values lr·√(out/in)', async (t) => {
  const p = { data: new Float32Array(24 * 8), shape: [24, 8] }
  new Dion([p], { lr: 1, rankFraction: 0.25, weightDecay: 0 }).step([matrix(3, [24, 8])])
  // PᵀP = I and |q| = 1: the squares of PQᵀ sum to the rank.
  const squares = p.data.reduce((sum, x) => sum + x * x, 0)
  t.ok(Math.abs(squares - (2 * 24) / 8) < 1e-4, `${squares}`)
})

test('momentum of lower rank than r: finite, and of that rank', async (t) => {
  const [a, b] = [wave(12, 1), wave(9, 2)]
  const rankOne = Float32Array.from(
    { length: 108 },
    (_, i) => (a[Math.floor(i / 9)] as number) * (b[i % 9] as number),
  )
  const p = { data: new Float32Array(108), shape: [12, 9] }
  const optimizer = new Dion([p], { lr: 1, weightDecay: 0 })
  for (let s = 0; s < 5; s++) optimizer.step([{ data: rankOne, shape: p.shape }])
  const unit = (x: Float32Array) => Math.hypot(...x)
  const expected = rankOne.map((x) => (-5 * Math.sqrt(12 / 9) * x) / (unit(a) * unit(b)))
  t.ok(relativeError(p.data, expected) < 1e-4)
  const zero = { data: wave(108, 3), shape: [12, 9] }
  const before = zero.data.slice()
  new Dion([zero], { lr: 0.5, weightDecay: 0.1 }).step([
    { data: new Float32Array(108), shape: [12, 9] },
  ])
  t.ok(
    relativeError(
      zero.data,
      before.map((x) => 0.95 * x),
    ) < 1e-6,
  )
})

test('stacked matrices, kernels, the other layout; state resumed; bits for any threads', async (t) => {
  const stacked = matrix(1, [2, 12, 9])
  const second = { data: stacked.data.slice(108), shape: [12, 9] }
  const gradient = wave(216, 4)
  const q = wave(2 * 9 * 3, 5)
  const begun = (
    p: { data: Float32Array; shape: number[] },
    right: Float32Array,
    batchAxes: number,
  ) => {
    const optimizer = new Dion([p], { batchAxes, rankFraction: 1 / 3 })
    const state = optimizer.stateDict()
    state.state[0] = { step: 0, q: right }
    optimizer.loadStateDict(state)
    return optimizer
  }
  begun(stacked, q, 1).step([{ data: gradient, shape: [2, 12, 9] }])
  begun(second, q.slice(27), 0).step([{ data: gradient.slice(108), shape: [12, 9] }])
  t.same(stacked.data.slice(108), second.data)
  const kernel = { data: wave(108, 1), shape: [4, 3, 3, 3] }
  const flat = { data: wave(108, 1), shape: [4, 27] }
  new Dion([kernel]).step([{ data: wave(108, 2), shape: kernel.shape }])
  new Dion([flat]).step([{ data: wave(108, 2), shape: flat.shape }])
  t.same(kernel.data, flat.data)
  const run = (state: 'float32' | 'bfloat16', resume: boolean) => {
    const p = matrix(1, [70, 200])
    const options = { rankFraction: 0.25, stateDtype: state }
    let optimizer = new Dion([p], options)
    for (let s = 0; s < 4; s++) {
      optimizer.step([matrix(10 + s, p.shape)])
      if (resume && s === 1) {
        const saved = structuredClone(optimizer.stateDict())
        optimizer = new Dion([p], options)
        optimizer.loadStateDict(saved)
      }
    }
    return p.data
  }
  const before = threads()
  for (const state of ['float32', 'bfloat16'] as const) {
    setThreads(1)
    const expected = run(state, false)
    for (const n of [2, 3, 5]) {
      setThreads(n)
      t.same(run(state, n === 2), expected)
    }
  }
  setThreads(before)
  t.throws(() => new Dion([matrix(1, [5])]), ShapeError)
  t.throws(() => new Dion([matrix(1, [5, 5])], { rankFraction: 0 }), ArgumentError)
})
