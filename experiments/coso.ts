/** CoSO beside GPM and naive training on permuted digits. */

import { CoSO, Gpm, mlp, permuted, type Strategy, study } from '../lib/continual/index.js'
import { type Dataset, digits, subset } from '../lib/data/index.js'
import { SGD } from '../lib/optim/index.js'
import { type Experiment, overSeeds } from './experiment.js'

const methods: { name: string; lr: number; strategies: () => Strategy[] }[] = [
  { name: 'naive', lr: 0.05, strategies: () => [] },
  { name: 'GPM', lr: 0.05, strategies: () => [new Gpm()] },
  // Adam inside the subspace: its step is of another size than the gradient's.
  {
    name: 'CoSO',
    lr: 0.001,
    strategies: () => [new CoSO({ rank: 32, sketch: 100, threshold: 0.95 })],
  },
]

const experiment: Experiment = {
  system: 'coso',
  paper: 'Continuous Subspace Optimization for Continual Learning (arXiv 2505.11816)',
  claim:
    'Optimizing in a sequence of subspaces of the gradients, orthogonal to those of earlier tasks, ends above the best baseline (ImageNet-R, 20 tasks: 78.19 %, 2.77 points above), and the margin grows with the number of tasks.',
  async run({ seeds, quick, progress, signal }) {
    const all = digits()
    const few = (data: Dataset, n: number) =>
      subset(
        data,
        Array.from({ length: Math.min(n, data.labels.length) }, (_, i) => i),
      )
    const data = quick
      ? { train: few(all.train, 300), test: few(all.test, 100) }
      : { train: few(all.train, 4000), test: few(all.test, 1000) }
    const results = await study({
      scenario: (seed) => permuted(data, { tasks: quick ? 2 : 5, seed }),
      model: (scenario) => mlp(scenario, [100, 100]),
      methods: methods.map(({ name, lr, strategies }) => ({
        name,
        strategies,
        options: { optimizer: (model) => new SGD(model.parameters(), { lr }) },
      })),
      epochs: quick ? 1 : 3,
      batchSize: 32,
      seeds,
      measure: 'seen',
      ...(signal ? { signal } : {}),
      onStep: ({ method, seed, done }) => progress(`${method}, seed ${seed}`, done),
    })
    const mean = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length
    const measured = results.flatMap(({ method, runs }) => [
      overSeeds(
        `${method}: average accuracy at the end, %`,
        runs.map(({ result }) => 100 * result.metrics.averageAccuracy),
        { digits: 1 },
      ),
      overSeeds(
        `${method}: forgetting, points`,
        runs.map(({ result }) => 100 * (result.metrics.forgetting ?? 0)),
        { digits: 1 },
      ),
    ])
    const end = (name: string) =>
      mean(
        (results.find(({ method }) => method === name)?.runs ?? []).map(
          ({ result }) => 100 * result.metrics.averageAccuracy,
        ),
      )
    return {
      measured,
      holds: end('CoSO') > Math.max(end('GPM'), end('naive')),
      verdict: `On permuted digits CoSO ends at ${end('CoSO').toFixed(1)} %, GPM at ${end('GPM').toFixed(1)} %, naive training at ${end('naive').toFixed(1)} %. The paper fine-tunes a pretrained ViT on class-incremental images, where tasks share their features; here a small perceptron begins anew and permuted pixels share none.`,
      plots: results.map(({ method, matrix }) => ({
        kind: 'heatmap' as const,
        title: `${method}: accuracy on task (column) after task (row)`,
        rows: matrix.map((_, i) => `${i + 1}`),
        columns: (matrix[0] ?? []).map((_, i) => `${i + 1}`),
        values: matrix,
      })),
    }
  },
}
export default experiment
