import { test } from 'tap'
import { type Tensor as T, tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { fixture, relativeError, waves } from '../fixtures.js'

const { cases } = fixture('nn') as unknown as { cases: Record<string, Record<string, number[]>> }

const nets: Record<string, [nn.Module[], number[]]> = {
  mlp: [
    [new nn.Linear(12, 16), new nn.ReLU(), new nn.Linear(16, 5)],
    [6, 12],
  ],
  conv: [
    [
      new nn.Conv2d(2, 4, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(4, 6, 3, { stride: 2, groups: 2 }),
      new nn.Tanh(),
      new nn.AvgPool2d(2, { stride: 1 }),
      new nn.Flatten(),
      new nn.Linear(24, 5),
    ],
    [6, 2, 14, 14],
  ],
}

for (const [name, [layers, shape]] of Object.entries(nets)) {
  for (const [dtype, tolerance] of [
    ['float64', 1e-12],
    ['float32', 2e-6],
  ] as const) {
    test(`${name}, ${dtype}: logits, loss and gradients as in PyTorch`, async (t) => {
      const net = new nn.Sequential(...layers)
      // Layers are made in float32: their parameters are replaced by ones of the wanted dtype.
      for (const [i, [path]] of net.namedParameters().entries()) {
        const [layer, key] = path.split('.') as [string, 'weight' | 'bias']
        const owner = layers[Number(layer)] as unknown as Record<typeof key, T>
        owner[key] = nn.parameter(waves(owner[key].shape, 50 + i, 0.5).to(dtype))
      }
      const expected = cases[name] as Record<string, number[]>
      const same = (value: T | null, key: string) => {
        const error = relativeError(value?.data as Float64Array, expected[key] as number[])
        t.ok(error < tolerance, `${key}: relative difference ${error}`)
      }
      const x = waves(shape, 40).to(dtype).requireGrad()
      const logits = net.call(x)
      const targets = tensor([0, 3, -100, 1, 4, 3], { dtype: 'int32' })
      const weight = waves([5], 90).abs().add(0.1)
      const loss = nn.crossEntropy(logits, targets, { weight, labelSmoothing: 0.1 })
      loss.backward()
      same(logits, 'logits')
      same(loss, 'loss')
      same(x.grad, 'input')
      for (const [key, p] of net.namedParameters()) same(p.grad, key)
    })
  }
}
