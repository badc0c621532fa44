/** Rehearsal-free continual learning: what distillation and parameter regularization do, alone and together. */

import { limited, mlp, split, strategiesNamed, tuneThenEvaluate } from '../lib/continual/index.js'
import { plotsOf, sgd, theDigits, valuesOf } from './digit-streams.js'
import { type Experiment, overSeeds } from './experiment.js'

/** Every method's knobs; what is not named has the value 1. Chosen on a seed that is not judged. */
const grids: Record<string, Record<string, number[]>> = {
  naive: {},
  'pred-kd': { 'pred-kd.lambda': [1, 3] },
  'feat-kd': { 'feat-kd.lambda': [3, 10] },
  l2: { 'l2.lambda': [0.1, 0.3, 1] },
  ewc: { 'ewc.lambda': [300, 1000, 3000] },
  'pred-kd+feat-kd': { 'pred-kd.lambda': [1, 3], 'feat-kd.lambda': [3, 10] },
  'pred-kd+l2': { 'pred-kd.lambda': [1, 3], 'l2.lambda': [0.1, 0.3] },
  'pred-kd+ewc': { 'pred-kd.lambda': [1, 3], 'ewc.lambda': [300, 1000] },
}
const names = Object.keys(grids)

const experiment: Experiment = {
  system: 'rehearsal-free',
  paper:
    'A Closer Look at Rehearsal-Free Continual Learning (Smith et al., CVPR-W 2023, arXiv 2203.17269)',
  claim:
    'Parameter regularization does help class-incremental learning without rehearsal, against common belief: prediction distillation alone forgets, and parameter regularization added to it forgets less.',
  async run(options) {
    const scenario = () => split(theDigits(), { tasks: 5 })
    const { seeds, quick, progress, signal } = options
    const stream = () => (quick ? limited(scenario(), { train: 60, test: 40 }) : scenario())
    const phases = await tuneThenEvaluate({
      algorithms: names.map((name) => ({
        name,
        grid: grids[name] ?? {},
        make: (choice) => ({ strategies: strategiesNamed(name, choice) }),
      })),
      model: (s) => mlp(s),
      trainingHead: 'own',
      optimizer: sgd(0.02),
      epochs: 2,
      batchSize: 32,
      tuning: { scenario: stream, seeds: [101] },
      evaluation: { scenario: stream, seeds },
      progress,
      ...(signal ? { signal } : {}),
    })
    const results = phases.map(({ result }) => result)
    const values = (name: string) => valuesOf(results, name)
    const gain = (name: string, base: string) =>
      values(name).map((value, i) => value - (values(base)[i] as number))
    const alone = (['l2', 'ewc'] as const).map((name) =>
      overSeeds(`${name} over naive`, gain(name, 'naive')),
    )
    const together = (['l2', 'ewc'] as const).map((name) =>
      overSeeds(`${name} added to pred-kd`, gain(`pred-kd+${name}`, 'pred-kd')),
    )
    const sure = (figure: { mean: number; interval: number | null }) =>
      figure.mean > (figure.interval ?? 0)
    const holds = alone.some(sure) && together.some(sure)
    const shown = (list: typeof alone) =>
      list
        .map(
          ({ name, mean, interval }) =>
            `${name} ${(100 * mean).toFixed(1)} ± ${(100 * (interval ?? 0)).toFixed(1)} points`,
        )
        .join(', ')
    return {
      measured: [
        ...names.map((name) => overSeeds(`${name}: average accuracy`, values(name))),
        ...names.map((name) =>
          overSeeds(`${name}: forgetting`, valuesOf(results, name, 'forgetting')),
        ),
        ...alone,
        ...together,
      ],
      holds,
      verdict: `Without rehearsal, parameter regularization alone: ${shown(alone)}; together with prediction distillation: ${shown(together)}. Every method's strengths were chosen on another seed. A small network from scratch on five tasks of two digits, training the outputs of the current task alone as the paper's code does; the paper has CIFAR-100 and ImageNet-R, ResNets and a pretrained ViT, so its claims on pretrained models are not tested here.`,
      plots: plotsOf('Rehearsal-free', results, scenario(), {
        scenario: 'split digits, class-incremental, outputs of the current task train',
        optimizer: 'SGD 0.02, 2 epochs, batches of 32',
      }),
    }
  },
}

export default experiment
