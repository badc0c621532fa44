import { test } from 'tap'
import { orthogonalize } from '../../lib/linalg/index.js'
import { Muon, NorMuon } from '../../lib/optim/index.js'
import { fixture, relativeError, wave } from '../fixtures.js'

const { cases, steps, shapes } = fixture('normuon') as {
  cases: Record<string, number[]>
  steps: number
  shapes: Record<string, number[]>
}

/** The gradients of make_normuon.py. */
function gradient(kind: string, shape: readonly number[], step: number): Float32Array {
  const n = shape.reduce((a, b) => a * b, 1)
  const rows = shape[0] as number
  const cols = n / rows
  if (kind === 'rank-one') {
    const [a, b] = [wave(rows, 500 + step), wave(cols, 600 + step)]
    return Float32Array.from(
      { length: n },
      (_, i) => (a[Math.floor(i / cols)] as number) * (b[i % cols] as number),
    )
  }
  const g = wave(n, 100 + step)
  return kind === 'zero-row' ? g.fill(0, cols, 2 * cols) : g
}

for (const [kind, shape] of Object.entries(shapes)) {
  for (const paper of [false, true]) {
    const name = `normuon ${paper ? 'paper ' : ''}${kind}`
    test(`${name}: the formula in float64 over ${steps} steps`, async (t) => {
      const data = wave(
        shape.reduce((a, b) => a * b, 1),
        1,
      )
      const optimizer = new NorMuon([{ data, shape }], {
        lr: 0.02,
        weightDecay: 0.1,
        compute: 'float32',
        adjustLr: paper ? 'match-rms-adamw' : 'original',
      })
      for (let s = 0; s < steps; s++) optimizer.step([{ data: gradient(kind, shape, s), shape }])
      const error = relativeError(data, cases[name] as number[])
      t.ok(error < 5e-6, `relative difference ${error}`)
    })
  }
}

const matrix = (seed: number) => ({ data: wave(240, seed), shape: [12, 20] })

test('rows of the first update have one norm, the whole that of O', async (t) => {
  const p = { data: new Float32Array(240), shape: [12, 20] }
  const g = matrix(9)
  new NorMuon([p], { lr: 1, weightDecay: 0, compute: 'float32', adjustLr: 'none' }).step([g])
  const rows = Array.from({ length: 12 }, (_, r) =>
    Math.hypot(...p.data.subarray(r * 20, (r + 1) * 20)),
  )
  t.ok(Math.max(...rows) / Math.min(...rows) < 1.0001)
  const o = orthogonalize(g, { compute: 'float32' })
  t.ok(Math.abs(Math.hypot(...p.data) - o.norm().item()) < 1e-4)
})

test('the normalization of the orthogonalization is an option of the step', async (t) => {
  const p = { data: new Float32Array(240), shape: [12, 20] }
  const g = matrix(9)
  const same = { normalization: 'aol', steps: 2, compute: 'float32' } as const
  new Muon([p], { ...same, lr: 1, weightDecay: 0, momentum: 0, adjustLr: 'none' }).step([g])
  t.ok(relativeError(p.data, orthogonalize(g, same).neg().data) < 1e-6)
})

test('permuting neurons permutes the update', async (t) => {
  const order = [3, 1, 2, 0, 11, 5, 4, 7, 6, 8, 10, 9]
  const permuted = (x: Float32Array) =>
    Float32Array.from(
      { length: 240 },
      (_, i) => x[(order[Math.floor(i / 20)] as number) * 20 + (i % 20)] as number,
    )
  const [a, b] = [matrix(1), { data: permuted(wave(240, 1)), shape: [12, 20] }]
  const options = { lr: 0.1, compute: 'float32' } as const
  const [one, two] = [new NorMuon([a], options), new NorMuon([b], options)]
  for (let s = 0; s < 5; s++) {
    one.step([matrix(20 + s)])
    two.step([{ data: permuted(wave(240, 20 + s)), shape: [12, 20] }])
  }
  t.ok(relativeError(b.data, permuted(a.data)) < 1e-6)
})

test('cautious weight decay acts where parameter and update agree', async (t) => {
  const [a, b] = [matrix(1), matrix(1)]
  const options = { lr: 0.1, weightDecay: 0.5, compute: 'float32' } as const
  new NorMuon([a], { ...options, weightDecay: 0 }).step([matrix(2)])
  new NorMuon([b], { ...options, cautiousWeightDecay: true }).step([matrix(2)])
  const before = wave(240, 1)
  for (let i = 0; i < 240; i++) {
    const [x, plain] = [before[i] as number, a.data[i] as number]
    const agrees = x * (x - plain) > 0
    t.ok(Math.abs((b.data[i] as number) - (plain - (agrees ? 0.05 * x : 0))) < 1e-6)
  }
})
