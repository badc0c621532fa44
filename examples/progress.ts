/** What the training examples share: a progress bar on the terminal, and accuracy. */

import { SingleBar } from 'cli-progress'
import { noGrad, scope, type Tensor } from 'palimpsest'
import { type Batch, DataLoader, type Dataset, type Transform } from 'palimpsest/data'
import type { Module } from 'palimpsest/nn'

/** True where the example is to show that it runs, not how well. */
export const quick = process.argv.includes('--quick')

/** Runs `step` so many times beside a bar that shows the loss; silent where there is no terminal. */
export function withBar(steps: number, step: (i: number) => number): number {
  const bar = new SingleBar({
    format: '{bar} {value}/{total} steps, loss {loss}, {eta} s left',
    stream: process.stderr,
    noTTYOutput: false,
    hideCursor: true,
  })
  bar.start(steps, 0, { loss: '' })
  let mean = Number.NaN
  for (let i = 0; i < steps; i++) {
    const loss = step(i)
    mean = i === 0 ? loss : 0.95 * mean + 0.05 * loss
    bar.update(i + 1, { loss: mean.toFixed(3) })
  }
  bar.stop()
  return mean
}

/** Endless batches: one epoch after the other. */
export function* endless<B>(loader: DataLoader<B>): Generator<B> {
  for (;;) yield* loader
}

/** The part of a data set that a network classifies rightly. */
export function accuracy(
  net: Module,
  data: Dataset,
  transforms: readonly Transform<Batch>[] = [],
): number {
  net.eval()
  let hits = 0
  for (const { inputs, targets } of new DataLoader(data, { batchSize: 500, transforms })) {
    hits += noGrad(() =>
      scope(() => (net.forward(inputs) as Tensor).argmax(1).eq(targets).sum().item()),
    )
  }
  net.train()
  return hits / data.labels.length
}
