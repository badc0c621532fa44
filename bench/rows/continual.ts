/**
 * Whole continual runs: five tasks of permuted 784-value inputs, an MLP, experience replay with 200
 * examples, accuracy on every task after each. Floor: the products' FLOPs of training.
 */

import { Er, mlp, permuted, Trainer } from '../../lib/continual/index.js'
import type { Dataset } from '../../lib/data/index.js'
import { randn } from '../../lib/index.js'
import { SGD } from '../../lib/optim/index.js'
import { Generator } from '../../lib/random/index.js'
import type { Row, RowMaker } from './row.js'

const hidden = [256, 256]

function dataset(n: number, generator: Generator): Dataset {
  return {
    inputs: randn([n, 784], { generator }).data as Float32Array,
    labels: Int32Array.from({ length: n }, () => generator.integer(10)),
    shape: [784],
  }
}

function er(n: number, batch: number): Row {
  const generator = new Generator(1)
  const scenario = permuted({ train: dataset(n, generator), test: dataset(n / 4, generator) })
  const weights = 784 * 256 * 4 + (256 * 256 + 256 * 10) * 6
  return {
    name: `continual er 784-256-256-10 5x${n} ${batch}+${batch}`,
    work: 5 * 2 * n * weights,
    limit: 'f32',
    run: async () => {
      await new Trainer({
        scenario,
        model: mlp(scenario, hidden),
        optimizer: (model) => new SGD(model.parameters(), { lr: 0.1 }),
        strategies: [new Er({ memory: 200 })],
        batchSize: batch,
      }).run()
    },
  }
}

export const rows: RowMaker[] = [
  ['continual er 784-256-256-10 5x2000 128+128', () => er(2000, 128)],
  ['continual er 784-256-256-10 5x1000 32+32', () => er(1000, 32)], // the Trainer's own batch size
  ['continual er 784-256-256-10 5x500 10+10', () => er(500, 10)],
]
