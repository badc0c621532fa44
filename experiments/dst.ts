/** Continual learning with dynamic sparse training, on split and permuted digits. */

import { Dst, type DstOptions, mlp, permuted, Trainer } from '../lib/continual/index.js'
import { digits } from '../lib/data/index.js'
import { AdamW } from '../lib/optim/index.js'
import { type Experiment, overSeeds, part, shown } from './experiment.js'

const densities = { 'low sparsity (density 0.2)': 0.2, 'high sparsity (density 0.01)': 0.01 }
const allocations = ['erk', 'uniform'] as const
const growths = ['random', 'unfired', 'gradient', 'momentum'] as const

const experiment: Experiment = {
  system: 'dst',
  paper: 'Yildirim et al., Continual Learning with Dynamic Sparse Training, arXiv 2308.14831',
  claim:
    'At low sparsity ERK uses the backbone better than uniform allocation; at high sparsity uniform is more robust; which growth is best depends on both; nothing is forgotten.',
  async run({ seeds, quick, progress, signal }) {
    const all = digits()
    const data = { train: part(all.train, 0, 4000), test: part(all.test, 0, 1000) }
    const figures = []
    const rows: string[][] = []
    const accuraciesOf: Record<string, number[]> = {}
    const best: Record<string, { growth: string; mean: number }> = {}
    let forgetting = 0
    const plans = Object.entries(densities).flatMap(([label, density]) =>
      allocations.flatMap((allocation) =>
        growths.map((growth) => ({ label, density, allocation, growth })),
      ),
    )
    const used = quick ? plans.slice(0, 2) : plans
    const total = used.length * seeds.length
    let done = 0
    for (const { label, density, allocation, growth } of used) {
      const accuracies: number[] = []
      for (const seed of seeds) {
        const scenario = permuted(data, { tasks: quick ? 2 : 5, setting: 'task', seed })
        const options: DstOptions = { density, allocation, growth, updateEvery: 10 }
        const trainer = new Trainer({
          scenario,
          model: mlp(scenario, [256, 256]),
          strategies: [new Dst(options)],
          optimizer: (model) => new AdamW(model.parameters(), { lr: 2e-3 }),
          epochs: quick ? 1 : 2,
          batchSize: 128,
          seed,
        })
        const { metrics } = await trainer.run(signal ? { signal } : {})
        accuracies.push(metrics.averageAccuracy)
        forgetting = Math.max(forgetting, metrics.forgetting)
        progress(`${label}, ${allocation}, ${growth}`, ++done / total)
      }
      const figure = overSeeds(`${label}, ${allocation}, ${growth}`, accuracies)
      figures.push(figure)
      const key = `${density} ${allocation}`
      accuraciesOf[`${key} ${growth}`] = accuracies
      if (figure.mean > (best[key]?.mean ?? 0)) best[key] = { growth, mean: figure.mean }
      rows.push([
        label,
        allocation,
        growth,
        figure.mean.toFixed(4),
        figure.interval === null ? '' : figure.interval.toFixed(4),
      ])
    }
    // Seeds share data, permutations and starting weights, so allocations are compared in pairs.
    const gap = (density: number) => {
      const [erk, uniform] = allocations.map((allocation) => {
        const key = `${density} ${allocation}`
        return accuraciesOf[`${key} ${best[key]?.growth}`] ?? []
      }) as [number[], number[]]
      const gaps = seeds.map((_, i) => 100 * ((erk[i] ?? 0) - (uniform[i] ?? 0)))
      return overSeeds(
        `ERK less uniform at density ${density}, best growth of each, points`,
        gaps,
        {
          digits: 2,
        },
      )
    }
    const gaps = quick ? [] : [gap(0.2), gap(0.01)]
    const sure = gaps.map(({ mean, interval }) => Math.abs(mean) > (interval ?? Infinity))
    const holds =
      !quick &&
      sure.every(Boolean) &&
      (gaps[0]?.mean ?? 0) > 0 &&
      (gaps[1]?.mean ?? 0) < 0 &&
      forgetting === 0
    const told = gaps
      .map(
        ({ mean, interval }, i) =>
          `${shown({ mean: Math.abs(mean), interval }, 2)} points ${mean > 0 ? 'above' : 'below'} uniform at density ${i === 0 ? 0.2 : 0.01}${sure[i] ? '' : ' (not for sure)'}`,
      )
      .join(' and ')
    const growthsTold = Object.entries(best)
      .map(([key, { growth }]) => `${key}: ${growth}`)
      .join(', ')
    return {
      measured: [
        ...figures,
        ...gaps,
        { name: 'largest forgetting', mean: forgetting, interval: null },
      ],
      holds,
      verdict: quick
        ? 'A shortened run: it shows only that everything works.'
        : `${forgetting === 0 ? 'Nothing is forgotten (the outputs of earlier tasks stay the same to the bit)' : 'Something is forgotten'}. With the best growth of each (${growthsTold}), ERK is ${told}. The paper's networks are VGG and ResNet on CIFAR-100 and miniImageNet; here five permutations of 4,000 digits and a small perceptron, whose first layer holds three quarters of the weights.`,
      plots: [
        {
          kind: 'table',
          title: 'Average accuracy after five tasks',
          columns: ['sparsity', 'allocation', 'growth', 'accuracy', '± (95 %)'],
          rows,
        },
      ],
    }
  },
}

export default experiment
