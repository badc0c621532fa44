/** Continual learning with dynamic sparse training, on split and permuted digits. */

import { Dst, type DstOptions, mlp, permuted, Trainer } from '../lib/continual/index.js'
import { digits } from '../lib/data/index.js'
import { AdamW } from '../lib/optim/index.js'
import type { Experiment } from './experiment.js'
import { overSeeds } from './experiment.js'

const densities = { 'low sparsity (density 0.2)': 0.2, 'high sparsity (density 0.01)': 0.01 }
const allocations = ['erk', 'uniform'] as const
const growths = ['random', 'unfired', 'gradient', 'momentum'] as const

const experiment: Experiment = {
  system: 'dst',
  paper: 'Yildirim et al., Continual Learning with Dynamic Sparse Training, arXiv 2308.14831',
  claim:
    'At low sparsity ERK uses the backbone better than uniform allocation; at high sparsity uniform is more robust; which growth is best depends on both; nothing is forgotten.',
  async run({ seeds, quick, progress, signal }) {
    const data = digits()
    const figures = []
    const rows: string[][] = []
    const best: Record<string, number> = {}
    let forgetting = 0
    const plans = Object.entries(densities).flatMap(([label, density]) =>
      allocations.flatMap((allocation) =>
        growths.map((growth) => ({ label, density, allocation, growth })),
      ),
    )
    const total = plans.length * seeds.length
    let done = 0
    for (const { label, density, allocation, growth } of quick ? plans.slice(0, 2) : plans) {
      const accuracies: number[] = []
      for (const seed of seeds) {
        progress(`${label}, ${allocation}, ${growth}`, done++ / total)
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
      }
      const figure = overSeeds(`${label}, ${allocation}, ${growth}`, accuracies)
      figures.push(figure)
      const key = `${density} ${allocation}`
      best[key] = Math.max(best[key] ?? 0, figure.mean)
      rows.push([
        label,
        allocation,
        growth,
        figure.mean.toFixed(4),
        figure.interval === null ? '' : figure.interval.toFixed(4),
      ])
    }
    const gap = (density: number) =>
      (best[`${density} erk`] ?? 0) - (best[`${density} uniform`] ?? 0)
    const [low, high] = [gap(0.2), gap(0.01)]
    const widest = Math.max(...figures.map(({ interval }) => interval ?? 0))
    const holds = !quick && low > 0 && high < 0 && forgetting === 0
    const points = (x: number) => `${(100 * x).toFixed(2)} points`
    return {
      measured: [...figures, { name: 'largest forgetting', mean: forgetting, interval: null }],
      holds,
      verdict: quick
        ? 'A shortened run: it shows only that everything works.'
        : `Nothing is forgotten (the outputs of earlier tasks stay the same to the bit). With the best growth of each, ERK is ${points(low)} above uniform at density 0.2 and ${points(high)} at density 0.01 (95 % intervals up to ±${points(widest)}; differences below that say nothing). The paper's networks are VGG and ResNet on CIFAR-100 and miniImageNet; here five permutations of 8,000 digits and a small perceptron, whose first layer holds three quarters of the weights.`,
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
