/**
 * Chooses learning rates and strengths of `palimpsest demo`: for each of its streams one rate for all
 * methods and a strength for EWC and DER++, by the average accuracy after the last task on a thousand
 * digits taken from the training part, under a seed that the demo does not use by default. The test digits
 * are not looked at. The rate is that at which the methods, each with its best strength, are best on
 * average. Prints a table. Run: node dist/experiments/tune-demo.js
 */

import { methods, parts } from '../lib/cli/demo.js'
import { combinations, mlp, strategiesNamed, study } from '../lib/continual/index.js'
import { digits } from '../lib/data/index.js'
import { NumericalError } from '../lib/engine/errors.js'
import { SGD } from '../lib/optim/index.js'
import { average, part } from './experiment.js'

const rates = [0.05, 0.1, 0.2]
const strengths: Record<string, Record<string, number[]>> = {
  ewc: { 'ewc.lambda': [10, 50, 200] },
  'der++': { 'der++.alpha': [0.5, 1] },
}
const { train } = digits()
const held = 1000
const data = {
  train: part(train, 0, train.labels.length - held),
  test: part(train, train.labels.length - held, train.labels.length),
}

for (const { title, make, epochs } of parts) {
  let best = { lr: 0, accuracy: 0, told: '' }
  for (const lr of rates) {
    const tops: number[] = []
    const told: string[] = []
    for (const name of methods) {
      let top = { accuracy: 0, choice: '' }
      for (const choice of combinations(strengths[name] ?? {})) {
        const shown = Object.entries(choice)
          .map(([key, value]) => `${key} ${value}`)
          .join(' ')
        const accuracy = await study({
          scenario: (seed) => make(data, seed),
          model: (stream) => mlp(stream),
          optimizer: (model) => new SGD(model.parameters(), { lr }),
          methods: [{ name, strategies: () => strategiesNamed(name, choice) }],
          seeds: [101],
          epochs,
          batchSize: 32,
          measure: 'seen',
        }).then(
          ([result]) => result?.metrics.averageAccuracy?.mean ?? 0,
          (error) => {
            // A penalty too firm for plain SGD at this rate.
            if (error instanceof NumericalError) return 0
            throw error
          },
        )
        process.stdout.write(`${title}\t${lr}\t${name}\t${shown}\t${accuracy.toFixed(4)}\n`)
        if (accuracy > top.accuracy) top = { accuracy, choice: shown }
      }
      tops.push(top.accuracy)
      if (top.choice) told.push(top.choice)
    }
    const accuracy = average(tops)
    if (accuracy > best.accuracy) best = { lr, accuracy, told: told.join(', ') }
  }
  process.stdout.write(`best\t${title}\t${best.lr}\t${best.told}\t${best.accuracy.toFixed(4)}\n`)
}
