import { test } from 'tap'
import { orthogonalize } from '../../lib/linalg/index.js'
import { AdamW, Muon, type Optimizer, SGD } from '../../lib/optim/index.js'
import { fixture, relativeError, wave } from '../fixtures.js'

const { cases, steps } = fixture('optimizers') as { cases: Record<string, number[]>; steps: number }
const shapes: Record<string, [number, number]> = { wide: [6, 20], tall: [24, 8] }

type Make = (params: { data: Float32Array; shape: number[] }[]) => Pick<Optimizer<never>, 'step'>

const optimizers: Record<string, [Make, number]> = {
  sgd: [(p) => new SGD(p, { lr: 0.05 }), 1e-6],
  'sgd momentum': [(p) => new SGD(p, { lr: 0.05, momentum: 0.9, weightDecay: 0.01 }), 1e-6],
  'sgd dampening': [(p) => new SGD(p, { lr: 0.05, momentum: 0.9, dampening: 0.5 }), 1e-6],
  'sgd nesterov': [
    (p) => new SGD(p, { lr: 0.05, momentum: 0.9, nesterov: true, maximize: true }),
    1e-6,
  ],
  adamw: [(p) => new AdamW(p, { lr: 0.01 }), 1e-6],
  'adamw options': [
    (p) =>
      new AdamW(p, { lr: 0.01, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.1, amsgrad: true }),
    1e-6,
  ],
  adam: [(p) => new AdamW(p, { lr: 0.01, weightDecay: 0.05, decoupled: false }), 2e-6],
  // The fixture's PyTorch orthogonalizes in float64 instead of bfloat16.
  muon: [(p) => new Muon(p, { lr: 0.02, compute: 'float32' }), 1e-6],
  'muon rms': [
    (p) =>
      new Muon(p, {
        lr: 0.02,
        weightDecay: 0,
        nesterov: false,
        adjustLr: 'match-rms-adamw',
        compute: 'float32',
      }),
    1e-6,
  ],
}

for (const [name, [make, tolerance]] of Object.entries(optimizers)) {
  for (const [shapeName, shape] of Object.entries(shapes)) {
    test(`${name}, ${shapeName}: ${steps} steps as in PyTorch`, async (t) => {
      const n = shape[0] * shape[1]
      const data = wave(n, 1)
      const optimizer = make([{ data, shape }])
      for (let step = 0; step < steps; step++)
        optimizer.step([{ data: wave(n, 100 + step), shape }])
      const error = relativeError(data, cases[`${name}, ${shapeName}`] as number[])
      t.ok(error < tolerance, `relative difference ${error}`)
    })
  }
}

for (const [shapeName, shape] of Object.entries(shapes)) {
  test(`orthogonalize, ${shapeName}: as PyTorch's Newton–Schulz`, async (t) => {
    const x = { data: wave(shape[0] * shape[1], 7), shape }
    const truth = cases[`newton-schulz float64, ${shapeName}`] as number[]
    for (const method of ['direct', 'gram', 'auto'] as const) {
      const f32 = orthogonalize(x, { compute: 'float32', method }).data
      t.ok(relativeError(f32, cases[`newton-schulz float32, ${shapeName}`] as number[]) < 1e-4)
      t.ok(relativeError(f32, truth) < 1e-5)
      const bf16 = orthogonalize(x, { method }).data
      const theirs = relativeError(
        cases[`torch.optim.Muon's newton-schulz, ${shapeName}`] as number[],
        truth,
      )
      t.ok(relativeError(bf16, truth) < Math.max(2e-2, theirs))
    }
  })
}
