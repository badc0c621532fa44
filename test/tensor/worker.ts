/** What workers.test.ts runs in several threads: as a worker it sends the bits that its training ends with. */

import { isMainThread, parentPort } from 'node:worker_threads'
import * as p from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'

/** A training that uses kernels of every kind; the bits that it ends with. */
export function train(): number[] {
  const generator = new p.Generator(1)
  const net = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1, generator }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(8 * 64, 64, { generator }),
    new nn.LayerNorm(64),
    new nn.GELU(),
    new nn.Dropout(0.2, { generator }),
    new nn.Linear(64, 4, { generator }),
  )
  const optimizer = new AdamW(net.parameters(), { lr: 0.01 })
  const x = p.randn([32, 1, 16, 16], { generator })
  const y = p.randint(0, 4, [32], { generator })
  const losses: number[] = []
  for (let step = 0; step < 8; step++) {
    losses.push(
      p.scope(() => {
        const loss = nn.crossEntropy(net.forward(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zeroGrad()
        return loss.item()
      }),
    )
  }
  return losses
}

if (!isMainThread) parentPort?.postMessage(train())
