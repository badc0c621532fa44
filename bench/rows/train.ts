/** Whole training steps: forward, backward, optimizer. Floor: the products' FLOPs. */

import { randint, randn, scope } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW, SGD } from '../../lib/optim/index.js'
import type { Row, RowMaker } from './row.js'

/** Linear layers with ReLU between them. */
export function mlpOf(dims: readonly number[]): nn.Sequential {
  const layers = dims.slice(1).map(
    (out, i) =>
      new nn.Linear(dims[i] as number, out, {
        activation: i < dims.length - 2 ? 'relu' : 'none',
      }),
  )
  return new nn.Sequential(...layers)
}

/** FLOPs of a step's products: the first layer needs no gradient of its input. */
export const mlpWork = (dims: readonly number[], batch: number): number =>
  dims
    .slice(1)
    .reduce((sum, out, i) => sum + (i === 0 ? 4 : 6) * batch * out * (dims[i] as number), 0)

function mlp(optimizer: 'sgd' | 'adamw', dims: number[], batch: number): Row {
  const net = mlpOf(dims)
  const opt = new (optimizer === 'sgd' ? SGD : AdamW)(net.parameters(), { lr: 1e-3 })
  const x = randn([batch, dims[0] as number])
  const t = randint(0, dims.at(-1) as number, [batch])
  return {
    name: `train ${optimizer} ${dims.join('-')} ${batch}`,
    work: mlpWork(dims, batch),
    limit: 'f32',
    run: () =>
      scope(() => {
        nn.crossEntropy(net.call(x), t).backward()
        opt.step()
        opt.zeroGrad()
      }),
  }
}

export const rows: RowMaker[] = [
  ['train sgd 784-512-10 128', () => mlp('sgd', [784, 512, 10], 128)],
  ['train adamw 784-512-10 128', () => mlp('adamw', [784, 512, 10], 128)],
  ['train adamw 784-2048-2048-10 256', () => mlp('adamw', [784, 2048, 2048, 10], 256)],
  ['train adamw 8-16-2 4', () => mlp('adamw', [8, 16, 2], 4)],
]
