/** The geometry of a small GPT's representations over its training. */

import { CharTokenizer, mobyDick } from '../lib/data/index.js'
import { AbortError } from '../lib/engine/errors.js'
import * as nn from '../lib/nn/index.js'
import { AdamW } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'
import { alphaReq, rankMe, spectrum } from '../lib/subspace/index.js'
import { noGrad, scope, Tensor } from '../lib/tensor/index.js'
import { average, type Experiment, overSeeds } from './experiment.js'

const context = 64

/** Steps at which the representations are looked at: dense at first. */
const moments = (steps: number): number[] => {
  const list = [0]
  for (let at = 1; at < steps; at = Math.max(at + 1, Math.round(at * 1.5))) list.push(at)
  return [...list, steps]
}

/** As in pretraining: up over a twentieth of the steps, then down to a tenth along a cosine. */
const rateAt = (step: number, steps: number): number => {
  const warmup = Math.ceil(steps / 20)
  const way = Math.max(0, step - warmup) / Math.max(1, steps - warmup)
  return 2e-3 * Math.min(1, (step + 1) / warmup) * (0.55 + 0.45 * Math.cos(Math.PI * way))
}

const experiment: Experiment = {
  system: 'spectra',
  paper:
    'Tracing the Representation Geometry of Language Models from Pretraining to Post-training (arXiv 2509.23024)',
  claim:
    'Pretraining passes through three phases of the last-token representations: a warm-up in which their rank collapses, a growth of rank (entropy-seeking), and a compression.',
  async run({ seeds, quick, progress, signal }) {
    const text = mobyDick()
      .map((chapter) => chapter.text)
      .join('\n')
      .slice(0, quick ? 20_000 : 600_000)
    const tokenizer = new CharTokenizer(text)
    const tokens = tokenizer.encode(text)
    const steps = quick ? 6 : 600
    const [batch, width, samples] = quick ? [4, 16, 40] : [16, 96, 400]
    const window = (starts: readonly number[], shift: number) =>
      Tensor.from({
        data: Int32Array.from(
          starts.flatMap((s) => [...tokens.subarray(s + shift, s + shift + context)]),
        ),
        shape: [starts.length, context],
      })
    const draw = (g: Generator, n: number) =>
      Array.from({ length: n }, () => g.integer(tokens.length - context - 1))
    const ranks: { x: number; y: number }[][] = []
    const slopes: { x: number; y: number }[][] = []
    const losses: number[] = []
    for (const [s, seed] of seeds.entries()) {
      const generator = new Generator(seed)
      const net = new nn.GPT({
        vocabulary: tokenizer.vocabulary,
        context,
        layers: quick ? 1 : 3,
        heads: 4,
        width,
        generator,
      })
      const opt = new AdamW(net.parameters(), { lr: 0, betas: [0.9, 0.95], weightDecay: 0.1 })
      const fixed = window(draw(new Generator(1), samples), 0)
      const look = () => {
        let features: Tensor | null = null
        const remove = net.norm.registerForwardHook((_, __, y) => {
          features = y
            .detach()
            .select(1, context - 1)
            .clone()
          return undefined
        })
        return scope(() =>
          noGrad(() => {
            net.eval()
            net.forward(fixed)
            remove()
            net.train()
            const values = spectrum(features as unknown as Tensor)
            return {
              rank: rankMe(values),
              alpha: alphaReq(values, { range: [3, Math.floor(width / 2)] }),
            }
          }),
        )
      }
      const wanted = new Set(moments(steps))
      const own: { x: number; y: number }[] = []
      const falling: { x: number; y: number }[] = []
      let last = 0
      for (let step = 0; step <= steps; step++) {
        if (wanted.has(step)) {
          const { rank, alpha } = look()
          own.push({ x: step, y: rank })
          falling.push({ x: step, y: alpha })
        }
        if (step === steps) break
        const starts = draw(generator, batch)
        for (const group of opt.paramGroups) group.lr = rateAt(step, steps)
        scope(() => {
          const logits = net.forward(window(starts, 0))
          const loss = nn.crossEntropy(
            logits.reshape(-1, tokenizer.vocabulary),
            window(starts, 1).reshape(-1),
          )
          opt.zeroGrad()
          loss.backward()
          opt.step()
          last = loss.item()
        })
        if (step % 10 === 0) {
          if (signal?.aborted) throw new AbortError()
          progress(`seed ${seed}, step ${step}`, (s + step / steps) / seeds.length)
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      progress(`seed ${seed}`, (s + 1) / seeds.length)
      ranks.push(own)
      slopes.push(falling)
      losses.push(last)
    }
    const figures = ranks.map((own) => {
      const values = own.map(({ y }) => y)
      const lowest = values.indexOf(Math.min(...values.slice(0, Math.ceil(values.length * 0.7))))
      const after = values.slice(lowest)
      const top = Math.max(...after)
      return {
        start: values[0] as number,
        low: values[lowest] as number,
        top,
        end: values.at(-1) as number,
      }
    })
    const of = (key: 'start' | 'low' | 'top' | 'end') => figures.map((f) => f[key])
    const [start, low, top, end] = [
      average(of('start')),
      average(of('low')),
      average(of('top')),
      average(of('end')),
    ]
    // A phase was seen where every seed shows it by more than a few per cent.
    const collapse = figures.every((f) => f.low < 0.9 * f.start)
    const growth = figures.every((f) => f.top > 1.1 * f.low)
    const compression = figures.every((f) => f.end < 0.97 * f.top)
    const seen = [
      collapse && 'a collapse',
      growth && 'a growth',
      compression && 'a compression',
    ].filter((x) => typeof x === 'string')
    const averaged = (lists: { x: number; y: number }[][]) =>
      (lists[0] ?? []).map(({ x }, i) => ({
        x,
        y: average(lists.map((l) => l[i]?.y ?? Number.NaN)),
      }))
    return {
      measured: [
        overSeeds('RankMe at the start', of('start'), { digits: 1 }),
        overSeeds('RankMe at its lowest', of('low'), { digits: 1 }),
        overSeeds('largest RankMe after that', of('top'), { digits: 1 }),
        overSeeds('RankMe at the end', of('end'), { digits: 1 }),
        overSeeds(
          'α at the end',
          slopes.map((l) => l.at(-1)?.y ?? Number.NaN),
          { digits: 2 },
        ),
        overSeeds('training loss at the end, nats a character', losses),
      ],
      holds: collapse && growth && compression,
      verdict: `A GPT of width ${width} over ${steps} steps on Moby-Dick, characters: ${seen.length > 0 ? `${seen.join(', ')} of RankMe was seen` : 'none of the phases was seen'} (${start.toFixed(1)} → ${low.toFixed(1)} → ${top.toFixed(1)} → ${end.toFixed(1)}). The paper follows models of 0.1–12B parameters over up to trillions of tokens; compression sets in late there, and may lie beyond this run.`,
      plots: [
        {
          kind: 'curves',
          title: 'RankMe of last-token representations (mean over seeds)',
          xLabel: 'step',
          yLabel: 'RankMe',
          curves: [{ name: 'RankMe', points: averaged(ranks) }],
        },
        {
          kind: 'curves',
          title: 'α of the covariance eigenvalues (mean over seeds)',
          xLabel: 'step',
          yLabel: 'α',
          curves: [{ name: 'α', points: averaged(slopes) }],
        },
      ],
    }
  },
}
export default experiment
