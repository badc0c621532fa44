/** NorMuon on a small GPT and a small ViT: steps to AdamW's loss, even neurons, memory, time. */

import { digits, mobyDick } from '../lib/data/index.js'
import { ArgumentError } from '../lib/engine/errors.js'
import type { Section } from '../lib/report/report.js'
import {
  clear,
  type Experiment,
  type ExperimentOptions,
  type Figure,
  overSeeds,
  part,
} from './experiment.js'
import {
  breakdown,
  curves,
  evenness,
  type OptimizerName,
  type Optimizers,
  optimizerNames,
  type Point,
  stateBytes,
  stepsToReach,
  type Task,
  trainBranches,
} from './optimizer-race.js'
import { gptTask, vitTask } from './optimizer-tasks.js'

/**
 * From experiments/tune-normuon.ts: rate and decay of the hidden matrices, eight trainings (GPT) and six
 * (ViT) for each optimizer.
 */
const tuned: Record<'GPT' | 'ViT', Optimizers> = {
  GPT: {
    AdamW: { lr: 0.002, weightDecay: 0.01 },
    Muon: { lr: 0.04, weightDecay: 0.0032 },
    NorMuon: { lr: 0.04, weightDecay: 0.0032 },
  },
  ViT: {
    AdamW: { lr: 0.002, weightDecay: 1 },
    Muon: { lr: 0.01, weightDecay: 1 },
    NorMuon: { lr: 0.01, weightDecay: 1 },
  },
}

/** Fractions of the full budget at which the learning rate is brought down, each a result of its own. */
const branches = [0.25, 0.4, 0.7, 1]

async function race(
  task: Task,
  optimizers: Optimizers,
  { seeds, quick, progress, signal }: ExperimentOptions,
  from: number,
): Promise<{ figures: Figure[]; sections: Section[]; ahead: boolean; ahead2: boolean }> {
  const steps = quick ? 6 : task.steps
  const results: Partial<Record<OptimizerName, Point[][]>> = {}
  let done = 0
  for (const seed of seeds) {
    for (const name of optimizerNames) {
      const options = { name, ...optimizers[name] }
      const ends = quick ? [0.5, 1] : branches
      const run = await trainBranches(task, options, { seed, steps, branches: ends, signal })
      results[name] = [...(results[name] ?? []), run]
      done++
      progress(`${task.name} · ${name}`, from + (0.45 * done) / (3 * seeds.length))
    }
  }
  const of = (name: OptimizerName) => results[name] as Point[][]
  const final = (name: OptimizerName) => of(name).map((run) => run.at(-1)?.loss as number)
  /** Of the full budget, how much one saves on the way to another's final loss, seed by seed. */
  const saved = (name: OptimizerName, other: OptimizerName) =>
    final(other).map((loss, i) => 100 * (1 - stepsToReach(of(name)[i] as Point[], loss) / steps))
  const figure = (name: OptimizerName, other: OptimizerName, published?: string) =>
    overSeeds(`${task.name}: steps ${name} saves to ${other}'s final loss, %`, saved(name, other), {
      digits: 1,
      ...(published && { published }),
    })
  const toAdam = figure('NorMuon', 'AdamW', '21.74 (1.1B)')
  const toMuon = figure('NorMuon', 'Muon', '11.31 (1.1B)')
  const lower = overSeeds(
    `${task.name}: Muon's final loss less NorMuon's`,
    final('Muon').map((loss, i) => loss - (final('NorMuon')[i] as number)),
    { digits: 4 },
  )
  const figures = [
    toAdam,
    figure('Muon', 'AdamW'),
    toMuon,
    ...optimizerNames.map((name) =>
      overSeeds(`${task.name}: final loss of ${name}`, final(name), { digits: 4 }),
    ),
    lower,
  ]
  const section: Section = {
    kind: 'curves',
    title: `${task.name}: held-out loss at the end of a budget (mean over seeds)`,
    xLabel: 'steps',
    yLabel: 'loss',
    curves: curves(results as Record<OptimizerName, Point[][]>),
  }
  return {
    figures,
    sections: [section],
    ahead: clear(toAdam),
    ahead2: clear(toMuon),
  }
}

const experiment: Experiment = {
  system: 'normuon',
  paper: 'NorMuon: Making Muon more efficient and scalable (arXiv 2510.05491)',
  claim:
    'Normalising the neurons of the orthogonalized update reaches a given loss in 21.74 % fewer steps than Adam and 11.31 % fewer than Muon (1.1B parameters); Muon’s update has neurons of uneven norm, NorMuon’s even ones; the second moment is one number a row; the step costs little of the training.',
  async run(options) {
    if (!options.seeds.length) throw new ArgumentError('at least one seed is needed')
    const text = mobyDick()
      .map(({ text }) => text)
      .join('\n')
    const gpt = gptTask(text, options.quick)
    const all = digits()
    const vit = vitTask(all.train, part(all.test, 0, options.quick ? 250 : 1000), options.quick)
    const a = await race(gpt, tuned.GPT, options, 0)
    const b = await race(vit, tuned.ViT, options, 0.45)
    options.progress('neurons and time', 0.92)
    const even = evenness(gpt, tuned.GPT, options.quick ? 2 : 40)
    const times = breakdown(
      gpt,
      tuned.GPT,
      options.quick ? { rounds: 1, sizes: [1] } : { rounds: 3, sizes: [1, 8] },
    )
    const bytes = stateBytes(gpt, tuned.GPT)
    const single = (name: string, mean: number, digits = 2): Figure => ({
      name,
      mean,
      interval: null,
      digits,
    })
    const measured: Figure[] = [
      ...a.figures,
      ...b.figures,
      single('spread of the update’s neuron norms (sd / mean), Muon', even.Muon.spread),
      single('spread of the update’s neuron norms (sd / mean), NorMuon', even.NorMuon.spread),
      ...optimizerNames.map((name) =>
        single(`GPT: bytes of state a parameter, ${name}`, bytes[name]),
      ),
      ...times.flatMap(({ tokens, forwardBackward, optimizer }) => [
        single(`GPT, ${tokens} tokens a step: forward and backward, ms`, forwardBackward, 1),
        ...optimizerNames.map((name) =>
          single(
            `GPT, ${tokens} tokens a step: ${name}, % of the training step`,
            (100 * optimizer[name]) / (forwardBackward + optimizer[name]),
            1,
          ),
        ),
      ]),
    ]
    const evened = even.NorMuon.spread < 0.5 * even.Muon.spread
    const holds = a.ahead && b.ahead && evened
    const than = (label: string, yes: boolean) => `${yes ? '' : 'not '}clearly ${label}`
    return {
      measured,
      holds,
      verdict: `At ${(gpt.parameters / 1e6).toFixed(1)} million parameters (GPT, characters of Moby-Dick) and ${(vit.parameters / 1e6).toFixed(1)} million (ViT, digits), NorMuon is ${than('ahead of AdamW', a.ahead && b.ahead)} and ${than('ahead of Muon', a.ahead2 && b.ahead2)}; its neurons are ${evened ? 'far more even' : 'not more even'}. A run that is below AdamW’s final loss at its first budget is credited that budget. Runs have ${gpt.steps} and ${vit.steps} steps where the paper's have tens of thousands, so the advantage over AdamW is that of the beginning of a training.`,
      plots: [
        ...a.sections,
        ...b.sections,
        ...(['Muon', 'NorMuon'] as const).map(
          (name): Section => ({
            kind: 'bars',
            title: `Norms of the update's neurons over their mean, ${name} (GPT, hidden layer of the second block's MLP)`,
            yLabel: 'neurons',
            bars: even[name].histogram,
          }),
        ),
      ],
    }
  },
}

export default experiment
