/**
 * A perceptron, a conv net or a vision transformer learns handwritten digits.
 *
 *     node dist/examples/digits.js mlp|conv|vit [--quick]
 */

import { Generator, scope } from 'palimpsest'
import { DataLoader, digits, randomShift, shaped } from 'palimpsest/data'
import * as nn from 'palimpsest/nn'
import { cosine, Muon, muonGroups, Scheduler, warmup } from 'palimpsest/optim'
import { accuracy, endless, quick, withBar } from './progress.js'

const image = shaped(1, 28, 28)
const background = -0.1307 / 0.3081
const shift = randomShift(2, background)

interface Recipe {
  net: (generator: Generator) => nn.Module
  steps: number
  batchSize: number
}

const recipes: Record<string, Recipe> = {
  mlp: {
    net: (generator) =>
      new nn.Sequential(
        new nn.Flatten(),
        new nn.Linear(784, 256, { generator, activation: 'relu' }),
        new nn.Linear(256, 10, { generator }),
      ),
    steps: 400,
    batchSize: 128,
  },
  conv: {
    net: (generator) =>
      new nn.Sequential(
        new nn.Conv2d(1, 16, 3, { padding: 1, generator }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(16, 32, 3, { padding: 1, generator }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(32 * 49, 10, { generator }),
      ),
    steps: 400,
    batchSize: 64,
  },
  vit: {
    net: (generator) =>
      new nn.VisionTransformer({
        imageSize: 28,
        patchSize: 7,
        channels: 1,
        classes: 10,
        layers: 3,
        heads: 4,
        width: 64,
        pool: 'mean',
        generator,
      }),
    steps: 1500,
    batchSize: 64,
  },
}

const name = process.argv[2] ?? 'mlp'
const recipe = recipes[name]
if (!recipe) throw new Error(`no network '${name}': mlp, conv or vit`)

const { train, test } = digits()
const net = recipe.net(new Generator(1))
const optimizer = new Muon(
  muonGroups(net, { hidden: { lr: 0.02, weightDecay: 0.01 }, rest: { lr: 0.002 } }),
)
const steps = quick ? 8 : recipe.steps
const up = Math.ceil(steps / 20)
const schedule = new Scheduler(optimizer, warmup(up, cosine(steps - up)))
const loader = new DataLoader(train, {
  batchSize: quick ? 16 : recipe.batchSize,
  shuffle: true,
  seed: 2,
  dropLast: true,
  transforms: [shift, image],
})
const batches = endless(loader)

const begun = performance.now()
withBar(steps, () => {
  const loss = scope(() => {
    const { inputs, targets } = batches.next().value
    const value = nn.crossEntropy(net.forward(inputs), targets)
    value.backward()
    optimizer.step()
    optimizer.zeroGrad()
    return value.item()
  })
  schedule.step()
  return loss
})
const seconds = (performance.now() - begun) / 1000
const held = quick
  ? { ...test, labels: test.labels.slice(0, 100), inputs: test.inputs.slice(0, 78400) }
  : test
console.log(
  `${name}: accuracy ${(100 * accuracy(net, held, [image])).toFixed(2)} % on ${held.labels.length} held-out digits after ${steps} steps, ${seconds.toFixed(1)} s`,
)
