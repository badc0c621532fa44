/**
 * Published reference points of the MNIST streams beside ours, with the same architectures, epochs and
 * strategies on the 10,000 digits that we have: 8,000 to train on, where MNIST has 60,000.
 *
 * Sources:
 * - ContinualAI/continual-learning-baselines (README's table; settings of experiments/);
 * - van de Ven & Tolias, arXiv 1904.07734v1, split MNIST: EWC 98.64 ± 0.22, 63.95 ± 1.90, 20.01 ± 0.06
 *   (the table's row as quoted word by word elsewhere); settings of GMvandeVen/continual-learning,
 *   branch preprints, param_values.py;
 * - Buzzega et al., arXiv 2004.07211, P-MNIST and R-MNIST, memory of 200: SGD 40.70 and 67.66, oEWC 75.79
 *   and 77.35, ER 72.37 and 85.01, DER++ 83.58 and 90.43, from the results that the authors gave in
 *   aimagelab/mammoth (README.md of commit 7ab9db9, 5 October 2020); settings of its utils/best_args.py
 *   and models/ewc_on.py.
 */

import {
  limited,
  type Method,
  online,
  permuted,
  rotated,
  type Scenario,
  type SharedOptions,
  split,
} from '../lib/continual/index.js'
import { AdamW } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'
import { method, onDigits, sgd, theDigits, valuesOf } from './digit-streams.js'
import {
  type Experiment,
  type ExperimentOptions,
  type ExperimentResult,
  type Figure,
  overSeeds,
} from './experiment.js'

/** One published setting. */
export interface Baseline {
  source: string
  stream: string
  /** What is like there, and what differs. */
  setting: string
  scenario: (seed: number) => Scenario
  hidden: number[]
  methods: { method: Method; published: string }[]
  options: SharedOptions
}

const adam =
  (lr: number): NonNullable<SharedOptions['optimizer']> =>
  (model) =>
    new AdamW(model.parameters(), { lr, weightDecay: 0 })

/** Keeps each task's test examples: turning 2,000 images anew for every one of 210 measurements takes long. */
const remembered = (scenario: Scenario): Scenario => ({
  ...scenario,
  experiences: scenario.experiences.map((experience) => {
    let test: ReturnType<typeof experience.test> | null = null
    return { ...experience, test: () => (test ??= experience.test()) }
  }),
})

const named = (
  name: string,
  published: string,
  set: Record<string, unknown> = {},
  lr?: number,
) => ({
  method: { ...method(name, set), ...(lr && { options: { optimizer: sgd(lr) } }) },
  published,
})

export const baselines: readonly Baseline[] = [
  {
    source: 'Avalanche',
    stream: 'permuted MNIST, 10 tasks, domain',
    setting:
      '784–512–10, 10 epochs, batches of 256, SGD, λ = 1 with Fisher per batch; our learning rate is 7.5 times theirs (0.001), for as many times fewer steps',
    scenario: (seed) => permuted(theDigits(), { tasks: 10, seed }),
    hidden: [512],
    methods: [
      named('ewc', '0.83 (paper 0.94)', {
        'ewc.lambda': 1,
        'ewc.samples': 8000,
        'ewc.batchSize': 256,
      }),
    ],
    options: { epochs: 10, batchSize: 256, optimizer: sgd(0.0075) },
  },
  {
    source: 'Avalanche',
    stream: 'permuted MNIST, 17 tasks, online, domain',
    setting:
      '784–256–256–10, batches of 10, SGD 0.1, 4,250 examples kept, 256 drawn; 1,000 digits a task as in the A-GEM paper',
    scenario: (seed) =>
      online(limited(permuted(theDigits(), { tasks: 17, seed }), { train: 1000, test: 2000 })),
    hidden: [256, 256],
    methods: [named('a-gem', '0.81', { 'a-gem.memory': 4250, 'a-gem.replay': 256 })],
    options: { optimizer: sgd(0.1) },
  },
  {
    source: 'Avalanche',
    stream: 'split MNIST, task',
    setting: '784–256–256, a head a task, 10 epochs, batches of 64, Adam 0.001, ξ = 0.1',
    scenario: () => split(theDigits(), { setting: 'task' }),
    hidden: [256, 256],
    methods: [named('si', '0.97', { 'si.c': 1, 'si.xi': 0.1 })],
    options: { epochs: 10, batchSize: 64, optimizer: adam(0.001) },
  },
  {
    source: 'Avalanche',
    stream: 'split MNIST, class',
    setting:
      '784–200–10, 21 epochs, batches of 128, SGD 0.001, T = 2; the weight of distillation is 1 throughout, theirs grows by the task',
    scenario: () => split(theDigits(), { setting: 'class' }),
    hidden: [200],
    methods: [named('lwf', '0.23')],
    options: { epochs: 21, batchSize: 128, optimizer: sgd(0.001) },
  },
  {
    source: 'Avalanche',
    stream: 'split MNIST, online, class',
    setting: '784–256–256–10, batches of 10 + 10, SGD 0.1, 1,000 examples kept',
    scenario: () => online(split(theDigits(), { setting: 'class' })),
    hidden: [256, 256],
    methods: [named('er', '0.92', { 'er.memory': 1000 })],
    options: { optimizer: sgd(0.1) },
  },
  ...(['task', 'domain', 'class'] as const).map((setting): Baseline => {
    const published = { task: '0.986 ± 0.002', domain: '0.640 ± 0.019', class: '0.200 ± 0.001' }[
      setting
    ]
    const lambda = { task: 1e7, domain: 1e6, class: 1e8 }[setting]
    return {
      source: 'van de Ven & Tolias',
      stream: `split MNIST, ${setting}`,
      setting:
        '784–400–400, 2,000 steps of 128 there and 21 epochs (265 steps) here, Adam 0.001, their λ; Fisher information of 500 examples with given labels, theirs of all with predicted ones',
      scenario: () => split(theDigits(), { setting }),
      hidden: [400, 400],
      methods: [named('ewc', published, { 'ewc.lambda': lambda })],
      options: { epochs: 21, batchSize: 128, optimizer: adam(0.001) },
    }
  }),
  ...(
    [
      ['permuted', { naive: '0.407', 'online-ewc': '0.758', er: '0.724', 'der++': '0.836' }],
      ['rotated', { naive: '0.677', 'online-ewc': '0.774', er: '0.850', 'der++': '0.904' }],
    ] as const
  ).map(
    ([name, published]): Baseline => ({
      source: 'DER++ paper (Mammoth)',
      stream: `${name} MNIST, 20 tasks, domain`,
      setting:
        '784–100–100–10, 1 epoch, batches of 128, SGD, memory 200, learning rates and strengths of the public code (its penalty lacks the ½, so λ is twice its 0.7); Fisher information of 500 examples, theirs of all; angles drawn from [0°, 180°) in both',
      scenario: (seed) => {
        if (name === 'permuted') return permuted(theDigits(), { tasks: 20, seed })
        // In no order, as there: in rising order the first tasks are the farthest from the last.
        const draw = new Generator(500 + seed)
        const angles = Array.from({ length: 20 }, () => 180 * draw.uniform())
        return remembered(rotated(theDigits(), { angles }))
      },
      hidden: [100, 100],
      methods: [
        named('naive', published.naive),
        named(
          'online-ewc',
          published['online-ewc'],
          { 'online-ewc.lambda': 1.4, 'online-ewc.weighted': true },
          0.1,
        ),
        named('er', published.er),
        named(
          'der++',
          published['der++'],
          { 'der++.alpha': 1, 'der++.beta': name === 'permuted' ? 1 : 0.5 },
          0.1,
        ),
      ],
      options: { epochs: 1, batchSize: 128, optimizer: sgd(0.2) },
    }),
  ),
]

const experiment: Experiment = {
  system: 'mnist-baselines',
  paper: 'Reference points of Avalanche, van de Ven & Tolias, and Mammoth on MNIST streams',
  claim:
    'Established strategies rank here as they do in the published tables: rehearsal above parameter regularization above nothing where no task label is given, and regularization without rehearsal near chance in class-incremental streams.',
  async run(options) {
    const measured: Figure[] = []
    for (const [i, baseline] of baselines.entries()) {
      const part = [i / baselines.length, (i + 1) / baselines.length] as const
      measured.push(...(await measure(baseline, options, part)))
    }
    return judge(measured)
  },
}

/** Average accuracies of one setting's methods. */
export async function measure(
  { stream, scenario, hidden, methods, options: own }: Baseline,
  options: ExperimentOptions,
  part: readonly [number, number] = [0, 1],
): Promise<Figure[]> {
  const list = methods.map(({ method: m }) => m)
  const results = await onDigits(options, {
    ...own,
    ...(options.quick && { epochs: 1 }),
    scenario: (seed) => {
      const whole = scenario(seed)
      return options.quick ? { ...whole, experiences: whole.experiences.slice(0, 2) } : whole
    },
    hidden,
    methods: list,
    part,
  })
  return methods.map(({ method: m, published }) =>
    overSeeds(`${stream}: ${m.name}`, valuesOf(results, m.name), { published }),
  )
}

/** What the figures of all settings, in order, say together. */
export function judge(measured: Figure[]): ExperimentResult {
  const settings = baselines.flatMap(({ methods, ...rest }) => methods.map(() => rest))
  const at = (name: string) => measured.find((figure) => figure.name === name)?.mean ?? 0
  const of = (stream: string, name: string) => at(`${stream} MNIST, 20 tasks, domain: ${name}`)
  const ordered = ['permuted', 'rotated'].every(
    (stream) =>
      of(stream, 'der++') > of(stream, 'er') &&
      of(stream, 'er') > of(stream, 'naive') &&
      of(stream, 'online-ewc') > of(stream, 'naive'),
  )
  const chance = at('split MNIST, class: ewc') < 0.3 && at('split MNIST, class: lwf') < 0.4
  const replay = at('split MNIST, online, class: er') > 0.7
  const differences = measured.map((f) => f.mean - Number.parseFloat(f.published ?? ''))
  const mean = differences.reduce((sum, d) => sum + d, 0) / differences.length
  return {
    measured,
    holds: ordered && chance && replay,
    verdict: `${ordered ? 'DER++ > ER > naive and online EWC > naive on both streams of 20 tasks, as published' : 'The order of strategies on the streams of 20 tasks is not the published one'}; class-incremental EWC and LwF ${chance ? 'stay near chance' : 'are above chance'} and online replay ${replay ? 'does not' : 'does, too'}. Our accuracies are ${(100 * Math.abs(mean)).toFixed(0)} points ${mean < 0 ? 'below' : 'above'} the published ones on average: there are 7.5 times fewer digits, so as many epochs are 7.5 times fewer steps, which learns each task less well and forgets it less.`,
    plots: [
      {
        kind: 'table',
        title: 'Published and ours',
        columns: ['source', 'stream: strategy', 'published', 'ours', 'setting'],
        rows: measured.map(({ name, mean: m, interval, published }, i) => [
          settings[i]?.source ?? '',
          name,
          published ?? '',
          `${m.toFixed(3)} ± ${(interval ?? 0).toFixed(3)}`,
          settings[i]?.setting ?? '',
        ]),
      },
    ],
  }
}

export default experiment
