import { join } from 'node:path'
import tap, { test } from 'tap'
import { ArgumentError, FormatError, tensor } from '../../lib/index.js'
import { saveSafetensors } from '../../lib/io/index.js'
import {
  AdamW,
  Dion,
  Lion,
  loadOptimizerState,
  Muon,
  NorMuon,
  SGD,
  saveOptimizerState,
} from '../../lib/optim/index.js'
import { fixture, relativeError, wave } from '../fixtures.js'

const folder = tap.testdir()

const matrix = (seed: number, shape: number[]) => ({
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
  shape,
})

test('state goes through a file to the same bits, for every optimizer and mixture', async (t) => {
  for (const Class of [SGD, AdamW, Lion, Muon, NorMuon, Dion]) {
    for (const stateDtype of ['float32', 'bfloat16'] as const) {
      const make = () => {
        const params = [matrix(1, [6, 5]), matrix(2, [3])]
        const own = Class === SGD ? { momentum: 0.9 } : {}
        const groups = [
          { params: [params[0]], ...own },
          { params: [params[1]], algorithm: 'adamw', amsgrad: true },
        ]
        return { params, optimizer: new Class(groups as never, { stateDtype }) }
      }
      const step = ({ optimizer }: ReturnType<typeof make>, s: number) =>
        optimizer.step([matrix(10 + s, [6, 5]), matrix(20 + s, [3])])
      const one = make()
      const path = join(folder, 'state.safetensors')
      for (let s = 0; s < 6; s++) {
        step(one, s)
        if (s === 2) saveOptimizerState(path, one.optimizer.stateDict())
      }
      const two = make()
      for (let s = 0; s < 3; s++) step(two, s)
      const resumed = make()
      resumed.params.forEach((p, i) => {
        p.data.set(two.params[i]?.data as Float32Array)
      })
      resumed.optimizer.loadStateDict(loadOptimizerState(path))
      t.same(resumed.optimizer.stateDict(), two.optimizer.stateDict())
      for (let s = 3; s < 6; s++) step(resumed, s)
      t.same(resumed.params, one.params)
    }
  }
})

test('an optimizer that has not stepped has a state too', async (t) => {
  const path = join(folder, 'empty.safetensors')
  saveOptimizerState(path, new AdamW([matrix(1, [3])]).stateDict())
  const other = new AdamW([matrix(1, [3])], { lr: 0.5 })
  other.loadStateDict(loadOptimizerState(path))
  t.equal(other.paramGroups[0]?.lr, 1e-3)
})

const { cases } = fixture('torch-state') as unknown as {
  cases: Record<string, { before: number[][]; after: number[][] }>
}
const classes = { adamw: AdamW, adam: AdamW, sgd: SGD, muon: Muon }

for (const [name, Class] of Object.entries(classes)) {
  test(`PyTorch's ${name} goes on here as it does there`, async (t) => {
    const { before, after } = cases[name] as { before: number[][]; after: number[][] }
    const params = [
      { data: Float32Array.from(before[0] as number[]), shape: [6, 5] },
      { data: Float32Array.from(before[1] as number[]), shape: [4, 7] },
    ]
    const groups = params.map((p) => ({ params: [p] }))
    const optimizer = new Class(
      groups as never,
      Class === Muon ? ({ compute: 'float32' } as never) : {},
    )
    const url = new URL(`../../../test/fixtures/torch-${name}.safetensors`, import.meta.url)
    optimizer.loadStateDict(loadOptimizerState(url.pathname))
    t.equal(optimizer.paramGroups[1]?.lr, 0.03)
    for (let step = 5; step < 10; step++) {
      optimizer.step([matrix(100 + step, [6, 5]), matrix(200 + step, [4, 7])])
    }
    for (const [i, { data }] of params.entries()) {
      const error = relativeError(data, after[i] as number[])
      t.ok(error < 1e-6, `relative difference ${error}`)
    }
  })
}

test('other files, and states that do not fit, are refused', async (t) => {
  const path = join(folder, 'other.safetensors')
  saveSafetensors(path, { weight: tensor([1, 2]) })
  t.throws(() => loadOptimizerState(path), FormatError)
  saveSafetensors(path, {}, { format: 'palimpsest-optimizer', state: '{' })
  t.throws(() => loadOptimizerState(path), FormatError)
  saveSafetensors(path, {}, { format: 'something', state: '{}' })
  t.throws(() => loadOptimizerState(path), FormatError)
  saveSafetensors(
    path,
    {},
    { format: 'torch-optimizer', state: '{"optimizer":"Adagrad","paramGroups":[]}' },
  )
  t.throws(() => loadOptimizerState(path), ArgumentError)
  saveOptimizerState(path, new AdamW([matrix(1, [3])]).stateDict())
  t.throws(
    () => new AdamW([matrix(1, [3]), matrix(1, [3])]).loadStateDict(loadOptimizerState(path)),
    ArgumentError,
  )
  t.throws(() => new Lion([matrix(1, [3])]).loadStateDict(loadOptimizerState(path)), ArgumentError)
})
