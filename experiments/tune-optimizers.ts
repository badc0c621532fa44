/**
 * Chooses the demo's learning rates: every optimizer gets the same grid size, the same steps, and is
 * judged by how fast it learns: the loss on 1,000 digits taken from the training part, averaged over
 * the measurements of a run and over two seeds. The test digits are not looked at.
 * Prints a table. Run: node dist/experiments/tune-demo.js
 */

import { type NetworkName, networks, optimizerNames, train } from '../lib/cli/classifier.js'
import { digits, subset } from '../lib/data/index.js'

const grids = {
  AdamW: [3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2],
  Muon: [0.005, 0.01, 0.02, 0.03, 0.05, 0.1],
  NorMuon: [0.005, 0.01, 0.02, 0.03, 0.05, 0.1],
}
const seeds = [11, 12]
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
const all = digits().train
const n = all.labels.length
const fit = subset(all, range(1000, n))
const held = subset(all, range(0, 1000))

for (const network of Object.keys(networks) as NetworkName[]) {
  const steps = network === 'MLP' ? 310 : 124
  let adamLr = 1e-3
  for (const optimizer of optimizerNames) {
    let best = { lr: 0, loss: Infinity }
    for (const lr of grids[optimizer]) {
      let loss = 0
      for (const seed of seeds) {
        const every = Math.floor(steps / 10)
        const options = {
          network,
          optimizer,
          train: fit,
          test: held,
          steps,
          every,
          seed,
          lr,
          adamLr,
        }
        const { points } = await train(options)
        for (const point of points) loss += point.loss / points.length / seeds.length
      }
      process.stdout.write(`${network}\t${optimizer}\t${lr}\t${loss.toFixed(4)}\n`)
      if (loss < best.loss) best = { lr, loss }
    }
    if (optimizer === 'AdamW') adamLr = best.lr
    process.stdout.write(`best\t${network}\t${optimizer}\t${best.lr}\n`)
  }
}
