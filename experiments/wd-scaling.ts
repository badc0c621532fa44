/**
 * Width-robust weight decay: a small transformer of widths 64 … 1024 on real text, with learning rate
 * and decay tuned at 64 and carried over by the rule and by plain μP.
 */

import { CharTokenizer, mobyDick, TokenWindows } from '../lib/data/index.js'
import { AbortError } from '../lib/engine/errors.js'
import * as nn from '../lib/nn/index.js'
import { AdamW, layerwiseWeightDecay, topSingularValues } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'
import { noGrad, scope, type Tensor } from '../lib/tensor/index.js'
import { average, clear, type Experiment, type Figure, overSeeds, shown } from './experiment.js'

export const baseWidth = 64
const widths = [64, 128, 256, 512, 1024]
const context = 32
const batch = 4
export const steps = 300

/**
 * From experiments/tune-wd-scaling.ts at width 64: of the settings within 1 % of the best loss, the one
 * with the largest product, which comes nearest to the steady state that the rule is about.
 */
const tuned = { lr: 0.016, weightDecay: 1 }

/**
 * One pre-norm block between an embedding and an output layer, parameterised for μP: heads of 32, hidden
 * matrices with a variance of 1/fanIn, an output layer that starts at zero and is scaled by d₀/d.
 */
class Transformer extends nn.Module {
  readonly tokens: nn.Embedding
  readonly positions: nn.Embedding
  readonly blocks: readonly nn.TransformerBlock[]
  readonly norm: nn.RMSNorm
  readonly head: nn.Linear
  readonly #scale: number

  constructor(vocabulary: number, width: number, generator: Generator) {
    super()
    this.tokens = new nn.Embedding(vocabulary, width, { generator })
    this.positions = new nn.Embedding(context, width, { generator })
    const options = { causal: true, norm: 'rms', bias: false, mlpRatio: 1, generator } as const
    this.blocks = [new nn.TransformerBlock(width, width / 32, options)]
    this.norm = new nn.RMSNorm(width)
    this.head = new nn.Linear(width, vocabulary, { bias: false, generator })
    this.#scale = baseWidth / width
    for (const [name, p] of this.namedParameters()) {
      if (name.startsWith('blocks') && p.rank === 2) {
        nn.init.normal(p, 0, 1 / Math.sqrt(p.shape[1] as number), generator)
      }
    }
    this.head.weight.array.fill(0)
  }

  forward(indices: Tensor): Tensor {
    const [, time] = indices.shape as [number, number]
    let x = this.tokens.call(indices).add(this.positions.weight.slice(0, 0, time))
    for (const block of this.blocks) x = block.call(x)
    return this.head.call(this.norm.call(x)).mul(this.#scale)
  }
}

export function corpus() {
  const text = mobyDick()
    .map((chapter) => chapter.text)
    .join('\n')
  const tokenizer = new CharTokenizer(text)
  const tokens = tokenizer.encode(text)
  const cut = Math.floor(0.9 * tokens.length)
  return {
    vocabulary: tokenizer.vocabulary,
    train: new TokenWindows(tokens.subarray(0, cut), context, 1),
    held: new TokenWindows(tokens.subarray(cut), context),
  }
}

/**
 * Trains one width; loss on held-out text and the geometric mean of the top singular values, at the end and
 * when half of the steps are done: where they still grow there is no steady state yet.
 */
export async function trainWidth(
  { vocabulary, train, held }: ReturnType<typeof corpus>,
  width: number,
  options: {
    lr: number
    weightDecay: number
    rule: boolean
    seed: number
    steps: number
    signal?: AbortSignal | undefined
  },
): Promise<{ loss: number; top: number; half: number }> {
  const { lr, weightDecay, rule, seed, steps, signal } = options
  const net = new Transformer(vocabulary, width, new Generator(seed))
  const groups = layerwiseWeightDecay(net, {
    width,
    baseWidth,
    lr,
    weightDecay,
    scaleWeightDecay: rule,
    isMatrix: (name, shape) => name.startsWith('blocks') && shape.length === 2,
  })
  const optimizer = new AdamW(groups, { betas: [0.9, 0.95] })
  const base = optimizer.paramGroups.map((group) => group.lr)
  const order = new Generator(1000 + seed)
  const loss = ({ inputs, targets }: { inputs: Tensor; targets: Tensor }) =>
    nn.crossEntropy(net.call(inputs).reshape(-1, vocabulary), targets.reshape(-1))
  const topOf = () => {
    const tops = Object.entries(topSingularValues(net)).flatMap(([name, x]) =>
      name.startsWith('blocks') ? [Math.log(x)] : [],
    )
    return Math.exp(average(tops))
  }
  let half = 0
  for (let step = 0; step < steps; step++) {
    if (signal?.aborted) throw new AbortError()
    if (step === Math.floor(steps / 2)) half = topOf()
    // Up, then down to a tenth in a straight line.
    const factor = Math.min(1, (step + 1) / 20) * (1 - (0.9 * step) / steps)
    optimizer.paramGroups.forEach((group, i) => {
      group.lr = (base[i] as number) * factor
    })
    scope(() => {
      const indices = Int32Array.from({ length: batch }, () => order.integer(train.length))
      loss(train.batch(indices)).backward()
      optimizer.step()
      optimizer.zeroGrad()
    })
    if (step % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const indices = Int32Array.from({ length: 128 }, (_, k) => k)
  const value = noGrad(() => scope(() => loss(held.batch(indices)).item()))
  return { loss: value, top: topOf(), half }
}

/** The slope of log y over log x by least squares, and its standard error. */
function exponent(xs: readonly number[], ys: readonly number[]): { slope: number; error: number } {
  const [a, b] = [xs.map(Math.log), ys.map(Math.log)]
  const [ma, mb] = [average(a), average(b)]
  const spread = a.reduce((sum, x) => sum + (x - ma) ** 2, 0)
  const slope = a.reduce((sum, x, i) => sum + (x - ma) * ((b[i] as number) - mb), 0) / spread
  const rest = a.reduce((sum, x, i) => sum + ((b[i] as number) - mb - slope * (x - ma)) ** 2, 0)
  return { slope, error: xs.length > 2 ? Math.sqrt(rest / (xs.length - 2) / spread) : 0 }
}

const experiment: Experiment = {
  system: 'wd-scaling',
  paper: 'Robust Layerwise Scaling Rules by Proper Weight Decay Tuning (arXiv 2510.15262)',
  claim:
    'Under AdamW with μP’s η ∝ 1/d, the weight decay of matrices must grow as √d to keep their top singular values, and with them the gains of sublayers, the same over widths; learning rate and decay tuned at a small width then carry over.',
  async run({ seeds, quick, progress, signal }) {
    const data = corpus()
    const used = quick ? [64, 128] : widths
    const rules = { 'the rule (λ ∝ √d)': true, 'plain μP (λ constant)': false }
    const results: Record<string, Record<'loss' | 'top' | 'half', number[][]>> = {}
    let done = 0
    for (const [name, rule] of Object.entries(rules)) {
      const loss: number[][] = []
      const top: number[][] = []
      const half: number[][] = []
      for (const width of used) {
        // At the base width both are the same.
        const same = width === baseWidth ? Object.values(results)[0] : undefined
        const runs = []
        for (const seed of same ? [] : seeds) {
          const options = { ...tuned, rule, seed, steps: quick ? 10 : steps, signal }
          runs.push(await trainWidth(data, width, options))
          done += width ** 2
          const all = 2 * seeds.length * used.reduce((sum, w) => sum + w ** 2, 0)
          progress(`${name} · width ${width}`, done / all)
        }
        loss.push(same?.loss[0] ?? runs.map((run) => run.loss))
        top.push(same?.top[0] ?? runs.map((run) => run.top))
        half.push(same?.half[0] ?? runs.map((run) => run.half))
      }
      results[name] = { loss, top, half }
    }
    const perSeed = (table: number[][], of: (values: number[]) => number) =>
      seeds.map((_, s) => of(table.map((row) => row[s] as number)))
    const figures = Object.entries(results).flatMap(([name, { loss, top, half }]): Figure[] => [
      overSeeds(
        `${name}: top singular value ∝ width^`,
        perSeed(top, (y) => exponent(used, y).slope),
        { published: name.includes('rule') ? '0 (kept)' : '0.25' },
      ),
      overSeeds(
        `${name}: standard error of that fit`,
        perSeed(top, (y) => exponent(used, y).error),
      ),
      ...used.map((width, i) =>
        overSeeds(`${name}: top singular value at width ${width}`, top[i] as number[]),
      ),
      overSeeds(
        `${name}: top singular value, width ${used.at(-1)} over ${used[0]}`,
        perSeed(top, (y) => (y.at(-1) as number) / (y[0] as number)),
      ),
      overSeeds(
        `${name}: top singular value at the end over half-time, width ${used.at(-1)}`,
        (top.at(-1) as number[]).map((y, s) => y / (half.at(-1)?.[s] as number)),
      ),
      ...used.map((width, i) =>
        overSeeds(`${name}: held-out loss at width ${width}`, loss[i] as number[]),
      ),
    ])
    const curve = (key: 'loss' | 'top') =>
      Object.entries(results).map(([name, table]) => ({
        name,
        points: used.map((width, i) => ({
          x: Math.log2(width),
          y: (table[key][i] as number[]).reduce((a, b) => a + b, 0) / seeds.length,
        })),
      }))
    const [rule, plain] = Object.keys(rules).map((name) =>
      perSeed(results[name]?.top as number[][], (y) => exponent(used, y).slope),
    ) as [number[], number[]]
    const [ruleLoss, plainLoss] = Object.keys(rules).map(
      (name) => results[name]?.loss.at(-1) as number[],
    ) as [number[], number[]]
    const lossGap = overSeeds(
      `plain μP's held-out loss at width ${used.at(-1)} less the rule's`,
      plainLoss.map((y, s) => y - (ruleLoss[s] as number)),
    )
    const gap = overSeeds(
      'plain μP’s exponent less the rule’s',
      plain.map((y, s) => y - (rule[s] as number)),
      { published: '0.25' },
    )
    figures.unshift(gap, lossGap)
    const kept = Math.abs(average(rule)) < 0.1
    const better = clear(gap) && clear(lossGap)
    const seen = clear(gap)
      ? `The rule takes ${shown(gap, 2)} off the exponent at which top singular values grow with the width (0.25 predicted); its held-out loss at width ${used.at(-1)} is ${average(ruleLoss).toFixed(3)}, plain μP's ${average(plainLoss).toFixed(3)} (${clear(lossGap) ? 'the difference is clear of its interval' : 'a difference within the interval'})`
      : 'The rule is not clearly better than plain μP'
    const rest = kept
      ? ''
      : `; but they still grow, as width^${average(rule).toFixed(2)}: at this size they go as √(η/λ)·d^${(0.75 + average(rule)).toFixed(2)} rather than d^0.75`
    const holds = kept && better
    return {
      measured: figures,
      holds,
      verdict: `${seen}${rest}. One block, ${steps} steps of ${batch * context} characters; the paper trains LLaMA-style models on billions of tokens, deep in the steady state.`,
      plots: [
        {
          kind: 'curves',
          title: 'Top singular values of the hidden matrices (geometric mean)',
          xLabel: 'log₂ width',
          yLabel: 'σ₁',
          curves: curve('top'),
        },
        {
          kind: 'curves',
          title: 'Held-out loss',
          xLabel: 'log₂ width',
          yLabel: 'loss',
          curves: curve('loss'),
        },
      ],
    }
  },
}

export default experiment
