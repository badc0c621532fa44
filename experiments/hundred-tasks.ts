/**
 * Memory over a hundred tasks: what strategies keep and how large the process is, printed on the way.
 * Run: node dist/experiments/hundred-tasks.js [tasks = 100]
 */

import { mlp, permuted, strategiesNamed, Trainer } from '../lib/continual/index.js'
import { digits } from '../lib/data/index.js'
import { part } from './experiment.js'

const tasks = Number(process.argv[2] ?? 100)
const { train, test } = digits()
// Few examples a task: what grows would grow with the tasks.
const data = { train: part(train, 0, 640), test: part(test, 0, 20) }
for (const name of ['naive', 'er', 'der++', 'a-gem', 'lwf', 'ewc', 'si', 'refresh+er']) {
  const stream = permuted(data, { tasks, seed: 1 })
  const trainer = new Trainer({
    scenario: stream,
    model: mlp(stream),
    strategies: strategiesNamed(name, { 'ewc.lambda': 1, 'ewc.samples': 50, 'si.c': 0.01 }),
    batchSize: 64,
  })
  const { experiences } = await trainer.run()
  const shown = [0, 1, 4, 9, 24, 49, 99].filter((i) => i < experiences.length)
  const line = shown
    .map((i) => {
      const { strategyBytes, processBytes } = experiences[i] as (typeof experiences)[number]
      return `${i + 1}: ${(strategyBytes / 1e6).toFixed(2)} + ${(processBytes / 1e6).toFixed(0)}`
    })
    .join('  ')
  process.stdout.write(`${name.padEnd(12)} MB kept + process after task  ${line}\n`)
}
