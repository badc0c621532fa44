/**
 * Chooses learning rate and weight decay for `palimpsest reproduce wd-scaling` at the smallest width, by
 * the loss on held-out text of a seed that the experiment does not use: of the settings within 1 % of
 * the best, the one with the largest product of rate and decay (see wd-scaling.ts).
 * Prints a table. Run: node dist/experiments/tune-wd-scaling.js
 */

import { baseWidth, corpus, steps, trainWidth } from './wd-scaling.js'

const results: { lr: number; weightDecay: number; loss: number }[] = []
const data = corpus()
for (const lr of [0.008, 0.016, 0.032, 0.064]) {
  for (const weightDecay of [0.1, 0.3, 1, 3, 10]) {
    const options = { lr, weightDecay, rule: true, seed: 11, steps }
    const { loss, top } = await trainWidth(data, baseWidth, options)
    process.stdout.write(`${lr}\t${weightDecay}\t${loss.toFixed(4)}\t${top.toFixed(3)}\n`)
    results.push({ lr, weightDecay, loss })
  }
}
const least = Math.min(...results.map(({ loss }) => loss))
const near = results.filter(({ loss }) => loss <= 1.01 * least)
const best = near.reduce((a, b) => (b.lr * b.weightDecay > a.lr * a.weightDecay ? b : a))
process.stdout.write(`best\t${best.lr}\t${best.weightDecay}\n`)
