/** OPCM beside averaging, task arithmetic and TIES: eight networks for eight ways of turning digits. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { batches, type Dataset, digits } from '../lib/data/index.js'
import { rotateImages } from '../lib/data/rotate.js'
import { AbortError } from '../lib/engine/errors.js'
import { loadSafetensors, saveSafetensors } from '../lib/io/index.js'
import {
  average,
  type MergeMethod,
  mergeCheckpoints,
  opcm,
  taskArithmetic,
  ties,
} from '../lib/merge/index.js'
import * as nn from '../lib/nn/index.js'
import { AdamW } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'
import { noGrad, scope } from '../lib/tensor/index.js'
import {
  accuracy,
  clear,
  type Experiment,
  average as mean,
  overSeeds,
  part,
  shown,
} from './experiment.js'

const angles = [-70, -50, -30, -10, 10, 30, 50, 70]
/** Each with the setting that is tried, its default first; averaging has none. */
const methods: Record<string, { make: (x: number) => MergeMethod; values: number[] }> = {
  average: { make: () => average(), values: [1] },
  'task arithmetic': {
    make: (scale) => taskArithmetic({ scale }),
    values: [0.3, 0.1, 0.15, 0.2, 0.4],
  },
  TIES: { make: (scale) => ties({ scale }), values: [1, 0.4, 0.6, 0.8, 1.5] },
  OPCM: { make: (alpha) => opcm({ alpha }), values: [0.5, 0.2, 0.35, 0.65, 0.8] },
}

const network = (generator: Generator) =>
  new nn.Sequential(
    new nn.Linear(784, 256, { activation: 'relu', generator }),
    new nn.Linear(256, 128, { activation: 'relu', generator }),
    new nn.Linear(128, 10, { generator }),
  )

function train(net: nn.Module, data: Dataset, epochs: number, generator: Generator): void {
  const opt = new AdamW(net.parameters(), { lr: 1e-3, weightDecay: 0 })
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const { inputs, targets } of batches(data, { batchSize: 64, generator })) {
      scope(() => {
        opt.zeroGrad()
        nn.crossEntropy(net.call(inputs), targets).backward()
        opt.step()
      })
    }
  }
}

const tunedName = (name: string) => `${name}, setting chosen`

const experiment: Experiment = {
  system: 'opcm',
  paper:
    'Merging Models on the Fly Without Retraining: A Sequential Approach to Scalable Continual Model Merging (arXiv 2501.09522)',
  claim:
    'Projecting each new task vector off the merged one beats other merging that takes models one by one by 5–8 points of average accuracy on 8, 14 and 20 CLIP-ViT tasks, and hardly depends on their order.',
  async run({ seeds, quick, progress, signal }) {
    const all = digits()
    // The last thousand training digits choose settings; they train nothing.
    const source = part(all.train, 0, quick ? 300 : 7000)
    const held = part(all.train, 7000, quick ? 7100 : 8000)
    const judged = part(all.test, 0, quick ? 200 : 1000)
    const chosen = quick ? angles.slice(0, 3) : angles
    const turned = (data: Dataset) => chosen.map((angle) => rotateImages(data, angle))
    const [trains, helds, tests] = [turned(source), turned(held), turned(judged)]
    const scores: Record<string, number[]> = {}
    const orders: number[] = []
    const own: Record<string, number> = {}
    const folder = mkdtempSync(join(tmpdir(), 'palimpsest-opcm-'))
    let done = 0
    const total = (1 + seeds.length) * (chosen.length + 1)
    const tick = async (message: string) => {
      if (signal?.aborted) throw new AbortError()
      progress(message, ++done / total)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const overall = (net: nn.Module, on: Dataset[]) =>
      mean(on.map((data) => accuracy(data, (x) => noGrad(() => net.call(x)))))
    const base = join(folder, 'base.safetensors')
    const models = chosen.map((_, i) => join(folder, `${i}.safetensors`))
    /** A base and its fine-tuned networks as checkpoints; the accuracies of each on its own task. */
    const fineTuned = async (seed: number) => {
      const start = network(new Generator(seed))
      train(start, source, quick ? 1 : 2, new Generator(100 + seed))
      saveSafetensors(base, start.stateDict())
      const accuracies: number[] = []
      for (const [i, data] of trains.entries()) {
        const net = network(new Generator(seed))
        net.loadStateDict(start.stateDict())
        train(net, data, 1, new Generator(200 + seed * 10 + i))
        accuracies.push(overall(net, [tests[i] as Dataset]))
        saveSafetensors(models[i] as string, net.stateDict())
        await tick(`seed ${seed}: network for ${chosen[i]}°`)
      }
      return { start, accuracies }
    }
    const merged = (method: MergeMethod, on: Dataset[], list = models) => {
      const out = join(folder, 'merged.safetensors')
      mergeCheckpoints({ models: list, base, out, method })
      const net = network(new Generator(0))
      net.loadStateDict(loadSafetensors(out))
      return overall(net, on)
    }
    try {
      await fineTuned(101)
      for (const [name, { make, values }] of Object.entries(methods)) {
        let most = -1
        for (const value of quick ? values.slice(0, 2) : values) {
          const right = merged(make(value), helds)
          if (right <= most) continue
          most = right
          own[name] = value
        }
      }
      await tick('settings chosen')
      for (const seed of seeds) {
        const { start, accuracies } = await fineTuned(seed)
        const add = (name: string, value: number) => {
          ;(scores[name] ??= []).push(value)
        }
        add('base', overall(start, tests))
        add('own network a task', mean(accuracies))
        for (const [name, { make, values }] of Object.entries(methods)) {
          add(name, merged(make(values[0] as number), tests))
          if (values.length > 1) add(tunedName(name), merged(make(own[name] as number), tests))
        }
        const backwards = merged(opcm(), tests, [...models].reverse())
        orders.push(Math.abs(backwards - ((scores['OPCM'] as number[]).at(-1) as number)))
        await tick(`seed ${seed}: merged`)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    const of = (name: string) => mean(scores[name] ?? [])
    /** OPCM's lead over the best of the others, seed by seed. */
    const lead = (label: string, ours: string, others: string[]) => {
      const best = others.reduce((a, b) => (of(b) > of(a) ? b : a))
      const gaps = seeds.map((_, i) => (scores[ours]?.[i] ?? 0) - (scores[best]?.[i] ?? 0))
      const figure = overSeeds(
        `OPCM less the best of the others (${best}), ${label}, points`,
        gaps,
        {
          digits: 1,
          published: '5 to 8',
        },
      )
      return { best, figure }
    }
    const others = Object.keys(methods).filter((name) => name !== 'OPCM')
    const plain = lead('defaults', 'OPCM', others)
    const tuned = lead('settings chosen', tunedName('OPCM'), [
      'average',
      ...others.slice(1).map(tunedName),
    ])
    return {
      measured: [
        ...Object.entries(scores).map(([name, list]) =>
          overSeeds(`${name}: mean accuracy over the tasks, %`, list, { digits: 1 }),
        ),
        overSeeds('OPCM: change when the order is reversed, points', orders, { digits: 1 }),
        plain.figure,
        tuned.figure,
      ],
      holds: !quick && clear(plain.figure) && clear(tuned.figure),
      verdict: `${chosen.length} networks, fine-tuned from one base on digits turned by ${chosen[0]}° to ${chosen.at(-1)}°, merged into one. With the papers' default settings OPCM has ${of('OPCM').toFixed(1)} %, ${shown(plain.figure, 1)} points more than the best of the others (${plain.best}); with settings chosen for each on digits that train nothing (${Object.entries(
        own,
      )
        .filter(([name]) => name !== 'average')
        .map(([name, value]) => `${name} ${value}`)
        .join(
          ', ',
        )}) the difference to the best of the others is ${shown(tuned.figure, 1)} points. The base has ${of('base').toFixed(1)} %; reversing the order changes OPCM by ${mean(orders).toFixed(1)} points. The paper merges encoders with a head for every task; here all tasks share one head.`,
      plots: [
        {
          kind: 'bars',
          title: 'Mean accuracy over the tasks, %',
          yLabel: '%',
          bars: Object.entries(scores).map(([name, list]) => ({ name, value: mean(list) })),
        },
      ],
    }
  },
}
export default experiment
