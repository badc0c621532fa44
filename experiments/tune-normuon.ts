/**
 * Chooses the learning rates of `palimpsest reproduce normuon`: three for each optimizer, one training over
 * the full budget each, judged by the loss on held-out data of a seed that the experiment does not use.
 * The decay of hidden matrices is 0.1, AdamW's rate beside Muon 0.004; neither is tuned.
 * Prints a table. Run: node dist/experiments/tune-normuon.js [GPT|ViT]
 */

import { digits, mobyDick, subset } from '../lib/data/index.js'
import { optimizerNames, trainBranches } from './optimizer-race.js'
import { gptTask, vitTask } from './optimizer-tasks.js'

const rates = {
  GPT: { AdamW: [0.001, 0.002, 0.004], Muon: [0.02, 0.04, 0.08], NorMuon: [0.02, 0.04, 0.08] },
  ViT: { AdamW: [0.001, 0.002, 0.004], Muon: [0.01, 0.02, 0.04], NorMuon: [0.01, 0.02, 0.04] },
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
const text = mobyDick()
  .map((chapter) => chapter.text)
  .join('\n')
const { train } = digits()
// The held-out tenth of the experiment is left alone here.
const tasks = [
  gptTask(text.slice(0, Math.floor(0.9 * text.length))),
  vitTask(subset(train, range(1000, train.labels.length)), subset(train, range(0, 1000))),
]
for (const task of tasks) {
  if (process.argv[2] && process.argv[2] !== task.name) continue
  for (const name of optimizerNames) {
    let best = { lr: 0, loss: Infinity }
    for (const lr of rates[task.name as keyof typeof rates][name]) {
      const options = { seed: 11, steps: task.steps, branches: [1] }
      const [point] = await trainBranches(task, { name, lr, weightDecay: 0.1 }, options)
      const loss = point?.loss as number
      process.stdout.write(`${task.name}\t${name}\t${lr}\t${loss.toFixed(4)}\n`)
      if (loss < best.loss) best = { lr, loss }
    }
    process.stdout.write(`best\t${task.name}\t${name}\t${best.lr}\n`)
  }
}
