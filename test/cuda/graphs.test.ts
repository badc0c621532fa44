/** A step that is replayed as a graph against the same step kernel by kernel: the same bits, whatever changes. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import { topK } from '../../lib/masks/index.js'
import * as optim from '../../lib/optim/index.js'
import { acceleratorsUnderTest } from '../devices.js'

type Any = Pick<
  optim.Muon,
  | 'step'
  | 'stepAsync'
  | 'addParamGroup'
  | 'graphStatistics'
  | 'gradNorm'
  | 'skippedSteps'
  | 'stateDict'
> & { paramGroups: { lr: number; weightDecay?: number }[] }
type Graph = { graph: 'auto' | false }

const kinds: [string, (xs: p.Tensor[], graph: Graph) => Any][] = [
  ['SGD', (xs, o) => new optim.SGD(xs, { lr: 0.1, momentum: 0.9, maximize: true, ...o })],
  [
    'AdamW with a mask and clipping',
    (xs, o) =>
      new optim.AdamW(xs, {
        lr: 0.1,
        amsgrad: true,
        maxGlobalGradNorm: 3,
        masks: xs.map((x, i) => (i === 1 ? topK(x, { density: 0.5 }) : null)),
        ...o,
      }),
  ],
  ['AdamW bf16', (xs, o) => new optim.AdamW(xs, { lr: 0.1, stateDtype: 'bfloat16', ...o })],
  ['Lion', (xs, o) => new optim.Lion(xs, { lr: 0.1, maxGradNorm: 2, ...o })],
  ['Muon', (xs, o) => new optim.Muon(xs, { lr: 0.1, stateDtype: 'bfloat16', ...o })],
  [
    'NorMuon beside AdamW',
    (xs, o) =>
      new optim.NorMuon(
        {
          hidden: { params: xs.slice(0, -1), maxGradNorm: 1, cautiousWeightDecay: true },
          rest: { params: xs.slice(-1) },
        },
        { lr: 0.1, maxGlobalGradNorm: 2, ...o },
      ),
  ],
]

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`recorded steps on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(17)
    const shapes: [number, number][] = [
      [20, 12],
      [12, 20],
      [20, 12],
      [5, 9],
    ]
    const draw = (list: [number, number][]) => list.map((s) => p.randn(s, { generator: g }))
    const starts = draw([...shapes, [6, 7]])
    const gradients = Array.from({ length: 9 }, () => draw([...shapes, [6, 7]]))
    const spoiled = gradients[4]?.[1] as p.Tensor
    spoiled.data[3] = Number.NaN

    for (const [name, make] of kinds) {
      const run = async (graph: 'auto' | false) => {
        const params = starts.map((x) => x.clone().to(id))
        const optimizer = make(params.slice(0, -1), { graph })
        const kept: p.Tensor[] = []
        const norms: number[] = []
        const counts: (optim.GraphStatistics | null)[] = []
        for (const [i, all] of gradients.entries()) {
          const group = optimizer.paramGroups[0] as { lr: number }
          group.lr = 0.1 / (i + 1)
          if (i === 6) optimizer.addParamGroup({ params: params.slice(-1) })
          // Kept, so that the next ones lie elsewhere.
          const own = all.slice(0, i < 6 ? -1 : undefined).map((x) => x.to(id))
          kept.push(...own)
          if (i === 3) await optimizer.stepAsync({ grads: own })
          else t.equal(optimizer.step(own), i !== 4, `${name}, step ${i}`)
          norms.push(optimizer.gradNorm)
          counts.push(optimizer.graphStatistics)
        }
        t.equal(optimizer.skippedSteps, 1, `${name}: a gradient that is not finite`)
        const values = params.map((x) => x.toArray())
        for (const x of [...params, ...kept]) x.dispose()
        return { values, norms, counts, state: optimizer.stateDict().state }
      }
      const [plain, recorded] = [await run(false), await run('auto')]
      t.strictSame(recorded.values, plain.values, `${name}: parameters, to the bit`)
      t.strictSame(recorded.state, plain.state, `${name}: state, to the bit`)
      t.strictSame(recorded.norms, plain.norms, `${name}: norms`)
      t.equal(plain.counts.at(-1), null, `${name}: nothing is recorded without`)
      if (id.startsWith('test')) {
        t.equal(recorded.counts.at(-1), null, 'a device without graphs goes on as before')
        continue
      }
      // Recorded at the second step and again after the group was added.
      t.strictSame(
        recorded.counts.map((c) => [c?.plain, c?.recorded, c?.replayed]),
        [
          [1, 0, 0],
          [1, 1, 0],
          [1, 1, 1],
          [1, 1, 2],
          [1, 1, 3],
          [1, 1, 4],
          [2, 1, 4],
          [2, 2, 4],
          [2, 2, 5],
        ],
        `${name}: what was replayed`,
      )
    }
    t.throws(
      () => new optim.SGD(starts, { lr: 1, graph: true as never }),
      p.ArgumentError,
      'a wrong option',
    )
  })
}
