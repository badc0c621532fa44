/** What the demo trains: two networks and three optimizers on digits. */

import { batches, type Dataset } from '../data/index.js'
import * as nn from '../nn/index.js'
import { AdamW, Muon, muonGroups, NorMuon } from '../optim/index.js'
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

/**
 * Learning rates: for the MLP the best of one grid of six for each optimizer by how fast the loss on
 * 1,000 of the training digits falls, mean of two seeds (experiments/tune-demo.ts prints it); for the
 * conv net the best of the same grids by the last loss. For Muon and NorMuon it is that of the hidden
 * matrices; AdamW handles the rest at its own best rate.
 */
export const learningRates: Record<NetworkName, Record<OptimizerName, number>> = {
  MLP: { AdamW: 0.01, Muon: 0.02, NorMuon: 0.02 },
  'conv net': { AdamW: 0.01, Muon: 0.03, NorMuon: 0.02 },
}

/** The optimizers of a network: one, or one for hidden matrices and one for the rest. */
export function optimizersFor(net: nn.Module, name: OptimizerName, lr: number, adamLr: number) {
  if (name === 'AdamW') return [new AdamW(net.parameters(), { lr })]
  const { hidden, rest } = muonGroups(net)
  const Hidden = name === 'Muon' ? Muon : NorMuon
  return [new Hidden([hidden], { lr, weightDecay: 0.01 }), new AdamW([rest], { lr: adamLr })]
}

/** One point of a run. */
export interface Point {
  step: number
  loss: number
  accuracy: number
}

/** A finished run. */
export interface Run {
  network: NetworkName
  optimizer: OptimizerName
  lr: number
  points: Point[]
  parameters: number
  msPerStep: number
  imagesPerSecond: number
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
  steps: number
  /** Steps between measurements. */
  every: number
  seed: number
  lr?: number
  adamLr?: number
  batchSize?: number
  onStep?: (step: number, loss: number) => void
}

/**
 * Trains from scratch: the learning rate rises linearly over the first tenth of the steps, then falls
 * linearly to a tenth.
 */
export async function train(options: RunOptions): Promise<Run> {
  const { network, optimizer, steps, every, seed, onStep, batchSize = 128 } = options
  const lr = options.lr ?? learningRates[network][optimizer]
  const net = networks[network](new Generator(seed))
  const optimizers = optimizersFor(
    net,
    optimizer,
    lr,
    options.adamLr ?? learningRates[network].AdamW,
  )
  const baseRates = optimizers.map((o) => o.paramGroups[0]?.lr as number)
  const order = new Generator(seed + 1000)
  const points: Point[] = []
  let busy = 0
  for (let step = 0; step < steps; ) {
    for (const { inputs, targets } of batches(options.train, {
      batchSize,
      generator: order,
      dropLast: true,
    })) {
      if (step >= steps) break
      optimizers.forEach((o, i) => {
        for (const group of o.paramGroups) group.lr = (baseRates[i] as number) * rate(step / steps)
      })
      const begin = performance.now()
      const loss = scope(() => {
        const value = nn.crossEntropy(net.call(inputs), targets)
        value.backward()
        for (const o of optimizers) {
          o.step()
          o.zeroGrad()
        }
        return value.item()
      })
      busy += performance.now() - begin
      step++
      onStep?.(step, loss)
      if (step % every === 0 || step === steps)
        points.push({ step, ...evaluate(net, options.test) })
      // Lets timers and the terminal have their turn.
      if (step % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const msPerStep = busy / steps
  return {
    network,
    optimizer,
    lr,
    points,
    msPerStep,
    parameters: net.parameters().reduce((n, p) => n + p.size, 0),
    imagesPerSecond: (1000 * batchSize) / msPerStep,
  }
}

/** The learning rate's factor after a fraction of the training. */
const rate = (done: number): number => Math.min(1, 0.1 + 9 * done) * (1 - 0.9 * done)

/** The first measured step whose accuracy reaches a mark, or null. */
export const stepsTo = (run: Run, accuracy: number): number | null =>
  run.points.find((point) => point.accuracy >= accuracy)?.step ?? null
