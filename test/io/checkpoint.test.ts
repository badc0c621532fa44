import { join } from 'node:path'
import tap, { test } from 'tap'
import { DataLoader } from '../../lib/data/index.js'
import * as p from '../../lib/index.js'
import { loadCheckpoint, saveCheckpoint, saveSafetensors } from '../../lib/io/index.js'
import * as nn from '../../lib/nn/index.js'
import * as optim from '../../lib/optim/index.js'
import { wave } from '../fixtures.js'

const folder = tap.testdir()
const path = (name: string) => join(folder, name)

const data = {
  inputs: wave(40 * 6, 1),
  labels: Int32Array.from({ length: 40 }, (_, i) => (i * 7) % 3),
  shape: [6],
}

/** A training with everything that has a state; `noise` of its own beside dropout. */
function training(seed: number) {
  const generator = new p.Generator(seed)
  const model = new nn.Sequential(
    new nn.Linear(6, 16, { generator }),
    new nn.BatchNorm(16),
    new nn.ReLU(),
    new nn.Dropout(0.3, { generator }),
    new nn.Linear(16, 3, { generator }),
  )
  const [first, ...rest] = model.parameters() as [p.Tensor, ...p.Tensor[]]
  const optimizers = [new optim.NorMuon([first]), new optim.AdamW(rest, { lr: 0.01 })] as const
  const loader = new DataLoader(data, { batchSize: 7, shuffle: true, seed: 5 })
  const parts = { model, optimizers: [...optimizers], generator, loader }
  const losses: number[] = []
  const run = (steps: number) => {
    while (steps > 0) {
      for (const { inputs, targets } of loader) {
        const noisy = inputs.add(p.randn(inputs.shape, { generator }).mul(0.1))
        const loss = nn.crossEntropy(model.forward(noisy), targets)
        loss.backward()
        losses.push(loss.item())
        for (const optimizer of optimizers) {
          optimizer.step()
          optimizer.zeroGrad()
        }
        if (--steps === 0) break
      }
    }
  }
  return { parts, run, losses }
}

test('a training that was saved goes on to the same bits', async (t) => {
  const whole = training(1)
  whole.run(25)
  const begun = training(1)
  begun.run(11)
  saveCheckpoint(path('run'), { ...begun.parts, step: 11, best: { loss: Infinity, at: [1, 2] } })
  const resumed = training(2)
  const plain = loadCheckpoint(path('run'), resumed.parts)
  t.same(plain, { step: 11, best: { loss: Infinity, at: [1, 2] } })
  resumed.run(14)
  t.same(resumed.losses, whole.losses.slice(11))
  const [a, b] = [whole, resumed].map((run) => run.parts.model.stateDict())
  for (const [name, x] of Object.entries(a as Record<string, p.Tensor>)) {
    t.ok(x.equals(b?.[name] as p.Tensor), name)
  }
})

test('a checkpoint that does not fit changes nothing', async (t) => {
  const saved = training(1)
  saved.run(3)
  saveCheckpoint(path('other'), { ...saved.parts, loader: { epoch: 1 } })
  const own = training(2)
  own.run(2)
  const before = own.parts.model.stateDict()['0.weight']?.toArray()
  const position = own.parts.generator.position
  t.throws(() => loadCheckpoint(path('other'), own.parts), p.ArgumentError)
  const small = new nn.Linear(2, 2)
  // The generator comes first and is put back.
  const { generator } = own.parts
  t.throws(() => loadCheckpoint(path('other'), { generator, model: small }), p.ArgumentError)
  t.equal(generator.position, position)
  t.same(own.parts.model.stateDict()['0.weight']?.toArray(), before)
  t.throws(() => loadCheckpoint(path('other'), { nothing: generator }), p.ArgumentError)
  t.throws(() => loadCheckpoint(path('other'), { generator: 3 as never }), p.ArgumentError)
})

test('what is no checkpoint gives FormatError', async (t) => {
  saveSafetensors(path('plain'), { x: p.tensor([1]) })
  t.throws(() => loadCheckpoint(path('plain')), p.FormatError)
  saveSafetensors(path('plain'), { x: p.tensor([1]) }, { format: 'palimpsest state 1', state: '[' })
  t.throws(() => loadCheckpoint(path('plain')), p.FormatError)
  saveSafetensors(path('plain'), {}, { format: 'palimpsest state 1', state: '{"checkpoint":1}' })
  t.throws(() => loadCheckpoint(path('plain')), p.FormatError)
  t.throws(() => saveCheckpoint(path('plain'), { x: (() => 1) as never }), p.ArgumentError)
})
