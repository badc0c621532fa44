/** NorMuon on a small GPT and a small ViT: steps to AdamW's loss, even neurons, memory, time. */

import { digits, mobyDick, subset } from '../lib/data/index.js'
import { ArgumentError } from '../lib/engine/errors.js'
import type { Section } from '../lib/report/report.js'
import { type Experiment, type ExperimentOptions, type Figure, overSeeds } from './experiment.js'
import {
  breakdown,
  curves,
  evenness,
  type Optimizers,
  optimizerNames,
  stateBytes,
  stepsToReach,
  type Task,
  trainBranches,
} from './optimizer-race.js'
import { gptTask, vitTask } from './optimizer-tasks.js'

/**
 * Learning rates: the best of a grid of the same size for each (experiments/tune-normuon.ts); the decay of
 * the hidden matrices is 0.1 for all, not tuned.
 */
const tuned: Record<'GPT' | 'ViT', Optimizers> = {
  GPT: {
    AdamW: { lr: 0.002, weightDecay: 0.1 },
    Muon: { lr: 0.04, weightDecay: 0.1 },
    NorMuon: { lr: 0.04, weightDecay: 0.1 },
  },
  ViT: {
    AdamW: { lr: 0.002, weightDecay: 0.1 },
    Muon: { lr: 0.01, weightDecay: 0.1 },
    NorMuon: { lr: 0.01, weightDecay: 0.1 },
  },
}

/** Fractions of the full budget at which the learning rate is brought down, each a result of its own. */
const branches = [0.4, 0.6, 0.8, 1]

async function race(
  task: Task,
  optimizers: Optimizers,
  { seeds, quick, progress, signal }: ExperimentOptions,
  from: number,
): Promise<{ figures: Figure[]; sections: Section[]; ahead: boolean; ahead2: boolean }> {
  const steps = quick ? 6 : task.steps
  const results: Record<string, Awaited<ReturnType<typeof trainBranches>>[]> = {}
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
  const marks = (results['AdamW'] as { loss: number }[][]).map((run) => run.at(-1)?.loss as number)
  const ratio = (name: string, against?: string) =>
    (results[name] as { steps: number; loss: number }[][]).map((run, i) => {
      const own = stepsToReach(run, marks[i] as number)
      const other = against
        ? stepsToReach(
            results[against]?.[i] as { steps: number; loss: number }[],
            marks[i] as number,
          )
        : steps
      return 100 * (1 - own / other)
    })
  const digits = 1
  const figures = [
    overSeeds(`${task.name}: NorMuon's steps saved to AdamW's final loss, %`, ratio('NorMuon'), {
      published: '21.74 (1.1B)',
      digits,
    }),
    overSeeds(`${task.name}: Muon's steps saved to AdamW's final loss, %`, ratio('Muon'), {
      digits,
    }),
    overSeeds(`${task.name}: NorMuon's steps saved against Muon's, %`, ratio('NorMuon', 'Muon'), {
      published: '11.31 (1.1B)',
      digits,
    }),
    ...optimizerNames.map((name) =>
      overSeeds(
        `${task.name}: final loss of ${name}`,
        (results[name] as { loss: number }[][]).map((run) => run.at(-1)?.loss as number),
        { digits: 4 },
      ),
    ),
  ]
  const section: Section = {
    kind: 'curves',
    title: `${task.name}: held-out loss at the end of a budget (mean over seeds)`,
    xLabel: 'steps',
    yLabel: 'loss',
    curves: curves(results),
  }
  const clear = ({ mean, interval }: Figure) => mean - (interval ?? 0) > 0
  return {
    figures,
    sections: [section],
    ahead: clear(figures[0] as Figure),
    ahead2: clear(figures[2] as Figure),
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
    const gpt = gptTask(text)
    const all = digits()
    const vit = vitTask(
      all.train,
      subset(
        all.test,
        Array.from({ length: 1000 }, (_, i) => i),
      ),
    )
    const a = await race(gpt, tuned.GPT, options, 0)
    const b = await race(vit, tuned.ViT, options, 0.45)
    options.progress('neurons and time', 0.92)
    const even = evenness(gpt, tuned.GPT, options.quick ? 2 : 40)
    const times = breakdown(
      gpt,
      tuned.GPT,
      options.quick ? { rounds: 1, sizes: [1] } : { rounds: 5, sizes: [1, 8] },
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
