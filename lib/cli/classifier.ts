/** What compare-optimizers trains: two networks on digits, to the end of a budget of steps. */

import { batches, type Dataset } from '../data/index.js'
import * as nn from '../nn/index.js'
import {
  AdamW,
  linear,
  Muon,
  muonGroups,
  NorMuon,
  type Optimizer,
  Scheduler,
  warmup,
} from '../optim/index.js'
import { Generator } from '../random/index.js'
import { noGrad, scope, type Tensor } from '../tensor/index.js'

/** Views flat digits as images of one channel. */
class AsImages extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.reshape(-1, 1, 28, 28)
  }
}

/** The networks by name. */
export const networks = {
  MLP: (generator: Generator) =>
    new nn.Sequential(
      new nn.Linear(784, 256, { activation: 'relu', generator }),
      new nn.Linear(256, 128, { activation: 'relu', generator }),
      new nn.Linear(128, 10, { generator }),
    ),
  'conv net': (generator: Generator) =>
    new nn.Sequential(
      new AsImages(),
      new nn.Conv2d(1, 16, 3, { padding: 1, generator }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(16, 32, 3, { padding: 1, generator }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(32 * 49, 64, { activation: 'relu', generator }),
      new nn.Linear(64, 10, { generator }),
    ),
}
export type NetworkName = keyof typeof networks

export const optimizerNames = ['AdamW', 'Muon', 'NorMuon'] as const
export type OptimizerName = (typeof optimizerNames)[number]

/** Batch sizes. */
export const batchSizes: Record<NetworkName, number> = { MLP: 512, 'conv net': 128 }

/** AdamW's moments, alone and beside Muon, and the decay of all: not tuned. */
const adam = { betas: [0.9, 0.99] as [number, number], weightDecay: 0.01 }

/** The optimizer of a network: for Muon and NorMuon hidden matrices at `lr`, the rest by AdamW. */
export function optimizerFor(
  net: nn.Module,
  name: OptimizerName,
  lr: number,
  restLr: number,
): Pick<Optimizer<{ lr: number }>, 'step' | 'zeroGrad' | 'paramGroups'> {
  if (name === 'AdamW') return new AdamW(net.parameters(), { lr, ...adam })
  const Hidden = name === 'Muon' ? Muon : NorMuon
  const hidden = { lr, momentum: 0.9, weightDecay: 0.01 }
  return new Hidden(muonGroups(net, { hidden, rest: { lr: restLr, ...adam } }))
}

/** A finished run. */
export interface Run {
  loss: number
  accuracy: number
  msPerStep: number
}

/** Mean loss and accuracy over a dataset. */
export function evaluate(net: nn.Module, data: Dataset): { loss: number; accuracy: number } {
  let loss = 0
  let hits = 0
  net.eval()
  noGrad(() => {
    for (const { inputs, targets } of batches(data, { batchSize: 500 })) {
      scope(() => {
        const logits = net.call(inputs)
        loss += nn.crossEntropy(logits, targets, { reduction: 'sum' }).item()
        hits += logits.argmax(1).eq(targets).sum().item()
      })
    }
  })
  net.train()
  return { loss: loss / data.labels.length, accuracy: hits / data.labels.length }
}

/** What a run needs. */
export interface RunOptions {
  network: NetworkName
  optimizer: OptimizerName
  train: Dataset
  test: Dataset
  /** The budget: the schedule ends with it. */
  steps: number
  seed: number
  lr: number
  /** AdamW's rate beside Muon. */
  restLr: number
  onStep?: (step: number, loss: number) => void
}

/**
 * Trains from scratch over the budget: the learning rate rises over the first tenth of the steps and
 * falls in a straight line to a twentieth at the end.
 */
export async function train(options: RunOptions): Promise<Run> {
  const { network, optimizer: name, steps, seed, onStep } = options
  const net = networks[network](new Generator(seed))
  const optimizer = optimizerFor(net, name, options.lr, options.restLr)
  const up = Math.ceil(steps / 10)
  const scheduler = new Scheduler(optimizer, warmup(up, linear(steps - up, { to: 0.05 })))
  const order = new Generator(seed + 1000)
  let busy = 0
  for (let step = 0; step < steps; ) {
    const generator = order
    const epoch = batches(options.train, {
      batchSize: batchSizes[network],
      generator,
      dropLast: true,
    })
    for (const { inputs, targets } of epoch) {
      if (step >= steps) break
      const begin = performance.now()
      const loss = scope(() => {
        const value = nn.crossEntropy(net.call(inputs), targets)
        value.backward()
        optimizer.step()
        optimizer.zeroGrad()
        return value.item()
      })
      scheduler.step()
      busy += performance.now() - begin
      step++
      onStep?.(step, loss)
      // Lets timers and the terminal have their turn.
      if (step % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { ...evaluate(net, options.test), msPerStep: busy / steps }
}
