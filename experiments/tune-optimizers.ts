/**
 * Chooses the learning rates of `palimpsest compare-optimizers`: every optimizer gets a grid of the same
 * size for each budget of steps, two seeds, and is judged by its accuracy on 2,000 digits taken from the
 * training part. The test digits are not looked at. AdamW beside Muon takes AdamW's own best rate.
 * Prints a table. Run: node dist/experiments/tune-optimizers.js [network [budget]]
 */

import { type NetworkName, networks, optimizerNames, train } from '../lib/cli/classifier.js'
import { tunedBudgets } from '../lib/cli/compare-optimizers.js'
import { digits, subset } from '../lib/data/index.js'

const grids = {
  AdamW: [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2],
  Muon: [0.02, 0.04, 0.08, 0.16, 0.32],
  NorMuon: [0.02, 0.04, 0.08, 0.16, 0.32],
}
const seeds = [11, 12]
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
const all = digits().train
const fit = subset(all, range(2000, all.labels.length))
const held = subset(all, range(0, 2000))

for (const network of Object.keys(networks) as NetworkName[]) {
  if (process.argv[2] && process.argv[2] !== network) continue
  for (const steps of tunedBudgets[network]) {
    if (process.argv[3] && Number(process.argv[3]) !== steps) continue
    let restLr = 1e-3
    for (const optimizer of optimizerNames) {
      let best = { lr: 0, accuracy: 0 }
      for (const lr of grids[optimizer]) {
        let accuracy = 0
        for (const seed of seeds) {
          const options = { network, optimizer, train: fit, test: held, steps, seed, lr, restLr }
          accuracy += (await train(options)).accuracy / seeds.length
        }
        process.stdout.write(
          `${network}\t${steps}\t${optimizer}\t${lr}\t${(100 * accuracy).toFixed(2)}\n`,
        )
        if (accuracy > best.accuracy) best = { lr, accuracy }
      }
      if (optimizer === 'AdamW') restLr = best.lr
      process.stdout.write(`best\t${network}\t${steps}\t${optimizer}\t${best.lr}\n`)
    }
  }
}
