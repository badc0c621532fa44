/**
 * The Fisher information's diagonal over a network, beside the forward and backward pass of the same
 * batch: batch statistics, and every example's own squares. Floor: the pass's FLOPs; examples' squares
 * need as many again in the weights' products of squares as their gradients.
 */

import { randint, randn, scope } from '../../lib/index.js'
import { DiagonalFisher } from '../../lib/masks/index.js'
import * as nn from '../../lib/nn/index.js'
import type { Row, RowMaker } from './row.js'

const nets = {
  mlp: () =>
    new nn.Sequential(
      new nn.Linear(784, 256, { activation: 'relu' }),
      new nn.Linear(256, 256, { activation: 'relu' }),
      new nn.Linear(256, 10),
    ),
  convnet: () =>
    new nn.Sequential(
      new nn.Conv2d(1, 16, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(16, 32, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(32 * 49, 10),
    ),
}
const shapes = { mlp: [784], convnet: [1, 28, 28] }
const products = {
  mlp: 6 * (784 * 256 + 256 * 256 + 2560) - 2 * 784 * 256,
  convnet: 4 * 784 * 144 + 6 * 196 * 32 * 144 + 6 * 15680,
}

function fisher(how: 'pass' | 'batch' | 'per-sample', kind: keyof typeof nets, n: number): Row {
  const net = nets[kind]()
  const batch = { inputs: randn([n, ...shapes[kind]]), targets: randint(0, 10, [n]) }
  const estimate = new DiagonalFisher(net.parameters(), { decay: 0.9 })
  const pass = () =>
    scope(() => {
      nn.crossEntropy(net.call(batch.inputs), batch.targets).backward()
      net.zeroGrad()
    })
  return {
    name: `fisher ${how} ${kind} ${n}`,
    work: n * products[kind],
    limit: 'f32',
    run:
      how === 'pass'
        ? pass
        : () => estimate.estimate(net, [batch], { perSample: how === 'per-sample' }),
  }
}

export const rows: RowMaker[] = (['mlp', 'convnet'] as const).flatMap((kind) =>
  (['pass', 'batch', 'per-sample'] as const).map(
    (how): RowMaker => [`fisher ${how} ${kind} 128`, () => fisher(how, kind, 128)],
  ),
)
