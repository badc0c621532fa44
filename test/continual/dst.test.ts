import { join } from 'node:path'
import { test } from 'tap'
import { Dst, type DstOptions, permuted, split, Trainer } from '../../lib/continual/index.js'
import { AbortError, ArgumentError, noGrad, randn } from '../../lib/index.js'
import { AdamW, Muon, SGD } from '../../lib/optim/index.js'
import { bitsOf, clusters, small, width } from './tiny.js'

const data = clusters()
const scenario = split(data, { tasks: 3, setting: 'task' })
const probe = randn([20, width])

const trainer = (dst: Dst, optimizer = 'adamw') =>
  new Trainer({
    scenario,
    model: small(scenario.outputs),
    strategies: [dst],
    epochs: 4,
    batchSize: 8,
    seed: 1,
    optimizer: (model) => {
      if (optimizer === 'adamw') return new AdamW(model.parameters(), { lr: 0.01 })
      if (optimizer === 'muon') return new Muon(model.parameters().filter((x) => x.rank > 1))
      return new SGD(model.parameters(), { lr: 0.05, momentum: 0.9, weightDecay: 1e-3 })
    },
  })

for (const growth of ['random', 'unfired', 'gradient', 'momentum'] as const) {
  for (const allocation of ['erk', 'uniform'] as const) {
    test(`dst, ${growth}, ${allocation}: counts stay, earlier tasks' outputs do not change by one bit`, async (t) => {
      const options: DstOptions = { growth, allocation, density: 0.3, updateEvery: 3 }
      const dst = new Dst(options)
      const run = trainer(dst, allocation === 'erk' ? 'adamw' : 'sgd')
      const outputs: number[][] = []
      const ask = (task: number) => {
        const experience = scenario.experiences[task] as (typeof scenario.experiences)[number]
        const { context: c } = run
        dst.beforeEvaluation(c, experience)
        c.model.eval()
        const { data: answers } = noGrad(() => c.forward(probe).clone())
        const bits = [...new Uint32Array(answers.buffer, answers.byteOffset, answers.length)]
        c.model.train()
        dst.afterEvaluation()
        return bits
      }
      const counts = new Set<number>()
      const seen = new Set<string>()
      const budget = Math.round(0.3 * width * 24)
      await run.run({
        onStep: () => {
          counts.add(dst.masks.reduce((n, mask) => n + mask.count(), 0))
          seen.add(dst.masks.map(({ bits }) => bits.join()).join())
        },
        onExperience: ({ index }) => {
          outputs.push(ask(index))
          for (let task = 0; task <= index; task++) t.same(ask(task), outputs[task])
          const weight = run.context.parameters[0]
          if (weight) t.equal(dst.masks[0]?.not().apply(weight).abs().max().item(), 0)
        },
      })
      t.same([...counts], [budget])
      t.ok(seen.size > 10, 'connections moved')
      t.ok(run.result.metrics.averageAccuracy > 0.8, `${run.result.metrics.averageAccuracy}`)
      t.equal(run.result.metrics.forgetting, 0)
    })
  }
}

test('dst: resumes to the same bits in the middle of a task', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'run')
  const options: DstOptions = { growth: 'momentum', updateEvery: 3 }
  const whole = trainer(new Dst(options))
  await whole.run()
  const controller = new AbortController()
  const first = trainer(new Dst(options))
  await t.rejects(
    first.run({
      signal: controller.signal,
      onStep: ({ step }) => step === 47 && controller.abort(),
    }),
    AbortError,
  )
  first.save(path)
  const second = trainer(new Dst(options))
  second.load(path)
  await second.run()
  t.same(bitsOf(second.context.model), bitsOf(whole.context.model))
  t.same(second.result.matrix, whole.result.matrix)
})

test('dst: wrong settings are refused', async (t) => {
  t.throws(() => new Dst({ density: 0 }), ArgumentError)
  t.throws(() => new Dst({ growth: 'fast' as 'random' }), ArgumentError)
  const other = permuted(data, { tasks: 2 })
  const wrong = new Trainer({
    scenario: other,
    model: small(other.outputs),
    strategies: [new Dst()],
  })
  await t.rejects(wrong.run(), ArgumentError)
  await t.rejects(trainer(new Dst(), 'muon').run(), ArgumentError)
})
