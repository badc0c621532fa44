import { isDeepStrictEqual } from 'node:util'
import { test } from 'tap'
import { ArgumentError, NumericalError, ShapeError, setThreads, threads } from '../../lib/index.js'
import { Mask, random } from '../../lib/masks/index.js'
import { AdamW, Lion, Muon, SGD } from '../../lib/optim/index.js'
import { wave } from '../fixtures.js'

const shape = [130, 90]
const n = 130 * 90
const matrix = (seed: number) => ({ data: wave(n, seed), shape })
const mask = random(shape, 0.1, 5)
const bits = mask.toTensor().data
const equal = (a: Float32Array, b: Float32Array) => a.every((x, i) => Object.is(x, b[i]))
type P = ReturnType<typeof matrix>
type Options = { masks?: (Mask | null)[]; stateDtype?: 'float32' | 'bfloat16' }

const makers = {
  SGD: (p: P[], o: Options) => new SGD(p, { lr: 0.1, ...o }),
  'SGD with momentum': (p: P[], o: Options) =>
    new SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1, ...o }),
  AdamW: (p: P[], o: Options) => new AdamW(p, { lr: 0.01, ...o }),
  'AdamW amsgrad': (p: P[], o: Options) => new AdamW(p, { lr: 0.01, amsgrad: true, ...o }),
  Lion: (p: P[], o: Options) => new Lion(p, { lr: 0.01, weightDecay: 0.1, ...o }),
}

for (const [name, make] of Object.entries(makers)) {
  test(`${name}: masked entries as in a dense step to the bit, the others stay`, async (t) => {
    const [dense, sparse, plain] = [matrix(1), matrix(1), matrix(2)]
    const start = matrix(1).data
    const full = make([dense, matrix(2)], {})
    const part = make([sparse, plain], { masks: [mask, null] })
    for (let i = 0; i < 4; i++) {
      full.step([matrix(10 + i), matrix(20 + i)])
      part.step([matrix(10 + i), matrix(20 + i)])
    }
    let wrong = 0
    bits.forEach((on, i) => {
      if (sparse.data[i] !== (on ? dense.data[i] : start[i])) wrong++
    })
    t.equal(wrong, 0)
    t.notOk(equal(plain.data, matrix(2).data))
    for (const [key, value] of Object.entries(part.stateDict().state[0] ?? {})) {
      if (typeof value !== 'number' && key !== 'mask') t.equal(value.length, mask.count())
    }
  })

  test(`${name}: saved and resumed to the same bits, with the mask`, async (t) => {
    for (const stateDtype of ['float32', 'bfloat16'] as const) {
      const [a, b] = [matrix(1), matrix(1)]
      const whole = make([a], { masks: [mask], stateDtype })
      const first = make([b], { masks: [mask], stateDtype })
      for (let i = 0; i < 5; i++) whole.step([matrix(10 + i)])
      for (let i = 0; i < 2; i++) first.step([matrix(10 + i)])
      const resumed = make([b], { stateDtype })
      resumed.loadStateDict(structuredClone(first.stateDict()))
      t.ok(resumed.masks[0]?.equals(mask))
      for (let i = 2; i < 5; i++) resumed.step([matrix(10 + i)])
      t.ok(equal(b.data, a.data))
    }
  })
}

test('a changed mask carries state over: as if what stays had never known the other', async (t) => {
  const next = random(shape, 0.1, 6).or(mask.and(random(shape, 0.5, 7)))
  for (const stateDtype of ['float32', 'bfloat16'] as const) {
    const p = matrix(1)
    const optimizer = new AdamW([p], { masks: [mask], stateDtype })
    optimizer.step([matrix(3)])
    const before = optimizer.stateDict().state[0]?.['m'] as Float32Array
    optimizer.setMask(0, next)
    const after = optimizer.stateDict().state[0]?.['m'] as Float32Array
    t.equal(after.length, next.count())
    const now = next.toTensor().data
    let [at, to, wrong] = [0, 0, 0]
    for (let i = 0; i < n; i++) {
      const value = bits[i] ? before[at++] : 0
      if (now[i] && after[to++] !== value) wrong++
    }
    t.equal(wrong, 0)
    optimizer.setMask(p, null)
    const { m } = optimizer.stateDict().state[0] as { m: Float32Array }
    t.equal(m.length, n)
    optimizer.step([matrix(4)])
  }
})

test('what is masked out may hold NaN and does not count for the norm', async (t) => {
  const p = matrix(1)
  const g = matrix(2)
  const optimizer = new SGD([p], { masks: [mask], nonFinite: 'throw' })
  let squares = 0
  bits.forEach((on, i) => {
    if (on) squares += (g.data[i] as number) ** 2
    else g.data[i] = NaN
  })
  optimizer.step([g])
  t.ok(Math.abs(optimizer.gradNorm - Math.sqrt(squares)) < 1e-9 * Math.sqrt(squares))
  t.ok(p.data.every(Number.isFinite))
  g.data[bits.indexOf(1)] = NaN
  t.throws(() => optimizer.step([g]), NumericalError)
})

test('a step under masks of any density happens whole or not at all', async (t) => {
  for (const density of [0.05, 0.25, 0.6]) {
    const masks = [random(shape, density, 8), random(shape, density, 9)]
    for (const make of Object.values(makers)) {
      const p = [matrix(1), matrix(2)]
      const optimizer = make(p, { masks })
      optimizer.step([matrix(3), matrix(4)])
      const before = structuredClone([p.map(({ data }) => data), optimizer.stateDict()])
      const grads = [matrix(5), matrix(6)]
      const on = masks[1]?.toTensor().data.lastIndexOf(1) as number
      const fine = grads[1]?.data[on] as number
      ;(grads[1] as P).data[on] = Infinity
      optimizer.step(grads) // skipped
      t.ok(isDeepStrictEqual([p.map(({ data }) => data), optimizer.stateDict()], before))
      ;(grads[1] as P).data[on] = fine
      optimizer.step(grads)
      t.notOk(equal(p[0]?.data as Float32Array, (before[0] as Float32Array[])[0] as Float32Array))
    }
  }
})

test('async, empty and full masks, any number of threads, wrong masks', async (t) => {
  const [a, b] = [matrix(1), matrix(1)]
  new AdamW([a], { masks: [mask] }).step([matrix(2)])
  await new AdamW([b], { masks: [mask] }).stepAsync({ grads: [matrix(2)] })
  t.ok(equal(b.data, a.data))
  const [none, all, dense] = [matrix(1), matrix(1), matrix(1)]
  new AdamW([none], { masks: [new Mask(shape)] }).step([matrix(2)])
  t.ok(equal(none.data, matrix(1).data))
  new AdamW([all], { masks: [Mask.full(shape)] }).step([matrix(2)])
  new AdamW([dense]).step([matrix(2)])
  t.ok(equal(all.data, dense.data))
  const before = threads()
  for (const count of [1, 2, 3, 5]) {
    setThreads(count)
    const p = matrix(1)
    new AdamW([p], { masks: [mask] }).step([matrix(2)])
    t.ok(equal(p.data, a.data))
  }
  setThreads(before)
  t.throws(() => new AdamW([matrix(1)], { masks: [] }), ArgumentError)
  t.throws(() => new AdamW([matrix(1)], { masks: [new Mask([3])] }), ShapeError)
  t.throws(() => new Muon([matrix(1)], { masks: [mask] }), ArgumentError)
  t.throws(() => new AdamW([matrix(1)]).setMask(3, mask), ArgumentError)
  const state = new AdamW([matrix(1)], { masks: [mask] }).stateDict()
  ;(state.state[0] as Record<string, unknown>)['mask'] = new Uint16Array(3)
  t.throws(() => new AdamW([matrix(1)]).loadStateDict(state), ShapeError)
})
