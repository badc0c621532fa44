/**
 * Chooses learning rate and weight decay for `palimpsest reproduce normuon`. Every optimizer gets the same
 * budget of trainings on each task (one seed that the experiment does not use, held-out data that it does
 * not use) and the same search: from a start it goes up or down a ladder of rates (factor 2) while that
 * lowers the loss, then a ladder of decays (factor √10), and so on by turns until no neighbour is better
 * or the budget is spent. No ladder has an edge. AdamW's rate beside Muon (embeddings, norms, biases:
 * 0.004) is not tuned. Prints a table. Run: node dist/experiments/tune-normuon.js [GPT|ViT]
 */

import { digits, mobyDick, subset } from '../lib/data/index.js'
import { optimizerNames, trainBranches } from './optimizer-race.js'
import { gptTask, vitTask } from './optimizer-tasks.js'

/** Trainings of each optimizer. */
const budgets = { GPT: 8, ViT: 6 }
const start = {
  GPT: { AdamW: 0.002, Muon: 0.04, NorMuon: 0.04 },
  ViT: { AdamW: 0.002, Muon: 0.01, NorMuon: 0.01 },
}
const startDecay = 0.1
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

/** A place on the ladders: steps up from the start. */
type Place = readonly [rate: number, decay: number]

for (const task of tasks) {
  if (process.argv[2] && process.argv[2] !== task.name) continue
  const budget = budgets[task.name as keyof typeof budgets]
  for (const name of optimizerNames) {
    const settingAt = ([rate, decay]: Place) => ({
      lr: start[task.name as keyof typeof start][name] * 2 ** rate,
      weightDecay: Number((startDecay * 10 ** (decay / 2)).toPrecision(2)),
    })
    const seen = new Map<string, number>()
    /** The loss at a place; Infinity for a run that diverges, null once the budget is spent. */
    const at = async (place: Place): Promise<number | null> => {
      const known = seen.get(`${place}`)
      if (known !== undefined) return known
      if (seen.size === budget) return null
      const { lr, weightDecay } = settingAt(place)
      const options = { seed: 11, steps: task.steps, branches: [1] }
      const [point] = await trainBranches(task, { name, lr, weightDecay }, options)
      const loss = Number.isFinite(point?.loss) ? (point?.loss as number) : Infinity
      seen.set(`${place}`, loss)
      process.stdout.write(`${task.name}\t${name}\t${lr}\t${weightDecay}\t${loss.toFixed(4)}\n`)
      return loss
    }
    let best: Place = [0, 0]
    let least = (await at(best)) as number
    const better = async (place: Place): Promise<boolean> => {
      const loss = await at(place)
      if (loss === null || loss >= least) return false
      best = place
      least = loss
      return true
    }
    for (let axis = 0, still = 0; still < 2; axis = 1 - axis) {
      const step = (by: number): Place =>
        axis === 0 ? [best[0] + by, best[1]] : [best[0], best[1] + by]
      let moved = false
      for (const by of [1, -1]) {
        if (moved) break
        while (await better(step(by))) moved = true
      }
      still = moved ? 0 : still + 1
    }
    const { lr, weightDecay } = settingAt(best)
    process.stdout.write(
      `best\t${task.name}\t${name}\t${lr}\t${weightDecay}\tafter ${seen.size} of ${budget}\n`,
    )
  }
}
