import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import {
  Er,
  online,
  type Scenario,
  type Strategy,
  split,
  Trainer,
  type TrainerOptions,
} from '../../lib/continual/index.js'
import { AbortError, ArgumentError, FormatError, NumericalError } from '../../lib/index.js'
import type { Module } from '../../lib/nn/index.js'
import { AdamW, SGD } from '../../lib/optim/index.js'
import { bitsOf, clusters, small } from './tiny.js'

const scenario = split(clusters(), { tasks: 3 })
const folder = tap.testdir()

const options = (more: Partial<TrainerOptions> = {}): TrainerOptions => ({
  scenario,
  model: small(scenario.outputs),
  optimizer: (model) => new AdamW(model.parameters(), { lr: 0.01 }),
  epochs: 2,
  batchSize: 16,
  seed: 5,
  ...more,
})

test('hooks are called in the documented order, every strategy in the list’s', async (t) => {
  const calls: string[] = []
  const hooks = [
    'beforeTraining',
    'beforeExperience',
    'beforeEpoch',
    'beforeStep',
    'afterBackward',
    'afterStep',
    'afterEpoch',
    'afterExperience',
    'beforeEvaluation',
    'afterEvaluation',
    'afterTraining',
  ] as const
  const spy = (name: string): Strategy => ({
    name,
    ...Object.fromEntries(hooks.map((hook) => [hook, () => void calls.push(`${name}.${hook}`)])),
    data: (_, data) => {
      calls.push(`${name}.data`)
      return data
    },
    batch: (_, batch) => {
      calls.push(`${name}.batch`)
      return batch
    },
    loss: (_, loss) => {
      calls.push(`${name}.loss`)
      return loss
    },
  })
  const one: Scenario = { ...scenario, experiences: scenario.experiences.slice(0, 1) }
  await new Trainer(
    options({ scenario: one, strategies: [spy('a'), spy('b')], epochs: 1, batchSize: 40 }),
  ).run()
  const both = (hook: string) => [`a.${hook}`, `b.${hook}`]
  const step = ['beforeStep', 'batch', 'loss', 'afterBackward', 'afterStep']
  const measured = ['beforeEvaluation', 'afterEvaluation']
  const order = [
    ...measured,
    'beforeTraining',
    'data',
    'beforeExperience',
    'beforeEpoch',
    ...step,
    ...step,
    'afterEpoch',
    'afterExperience',
    ...measured,
    'afterTraining',
  ]
  t.strictSame(calls, order.flatMap(both))
})

test('a saved run goes on to the same bits from any step', async (t) => {
  const path = join(folder, 'any-step.safetensors')
  const whole = new Trainer(options({ strategies: [new Er({ memory: 20 })] }))
  const expected = await whole.run()
  for (const stop of [1, 7, 10, 11, 29]) {
    const first = new Trainer(options({ strategies: [new Er({ memory: 20 })] }))
    const controller = new AbortController()
    const onStep = ({ step }: { step: number }) => {
      if (step === stop) controller.abort()
    }
    await t.rejects(first.run({ signal: controller.signal, onStep }), AbortError)
    first.save(path)
    const second = new Trainer(options({ strategies: [new Er({ memory: 20 })] }))
    second.load(path)
    t.equal(second.context.position.step, stop)
    const result = await second.run()
    t.strictSame(bitsOf(second.context.model), bitsOf(whole.context.model), `stopped at ${stop}`)
    t.strictSame(result.matrix, expected.matrix)
    t.strictSame(result.metrics, expected.metrics)
  }
})

test('checkpoints are written on the way, and the last one is of the finished run', async (t) => {
  const path = join(folder, 'on-the-way.safetensors')
  const first = new Trainer(options())
  const result = await first.run({ checkpoint: { path, every: 4 } })
  const again = new Trainer(options())
  again.load(path)
  t.ok(again.done)
  t.strictSame((await again.run()).matrix, result.matrix)
})

test('a class-incremental stream is forgotten by the naive way, less with rehearsal', async (t) => {
  const naive = await new Trainer(options()).run()
  const er = await new Trainer(options({ strategies: [new Er({ memory: 60 })] })).run()
  t.ok(naive.metrics.forgetting > 0.5, `${naive.metrics.forgetting}`)
  t.ok(er.metrics.averageAccuracy > naive.metrics.averageAccuracy + 0.2)
  t.equal(naive.metrics.forwardTransfer, null)
  t.ok((er.experiences[0]?.strategyBytes ?? 0) >= 60 * 16 * 4)
})

test('tasks with heads of their own do not touch others’ outputs; domains share theirs', async (t) => {
  const tasks = split(clusters(), { tasks: 3, setting: 'task' })
  const rows: Float32Array[] = []
  const watch: Strategy = {
    name: 'watch',
    afterExperience: () => void rows.push(bias?.data.slice() as Float32Array),
  }
  const optimizer = (model: Module) => new SGD(model.parameters(), { lr: 0.1 })
  const run = new Trainer(options({ scenario: tasks, strategies: [watch], optimizer }))
  const bias = run.context.parameters.at(-1)
  const before = bias?.data.slice() as Float32Array
  await run.run()
  t.strictSame(rows[0]?.slice(2), before.slice(2), 'the first task leaves the later heads')
  t.strictSame(rows[2]?.slice(0, 4), rows[1]?.slice(0, 4), 'the third leaves the first two')
  const domain = split(clusters(), { tasks: 3, setting: 'domain' })
  t.equal(domain.outputs, 2)
  t.ok(
    (await new Trainer(options({ scenario: domain, model: small(2) })).run()).metrics
      .forwardTransfer !== null,
  )
})

test('an online stream passes once in its own batches', async (t) => {
  const stream = online(scenario, { batchSize: 8 })
  let steps = 0
  await new Trainer(options({ scenario: stream, epochs: 9, batchSize: 64 })).run({
    onStep: () => void steps++,
  })
  t.equal(steps, (3 * 80) / 8)
})

test('wrong options are named', (t) => {
  t.throws(() => new Trainer(options({ epochs: 0 })), { name: 'ArgumentError', message: /epochs/ })
  t.throws(() => new Trainer(options({ batchSize: 1.5 })), /batchSize/)
  t.throws(() => new Trainer(options({ strategies: [new Er(), new Er()] })), /each name once/)
  t.throws(() => new Trainer(options({ scenario: {} as Scenario })), /scenario/)
  t.throws(() => new Trainer(options({ model: () => ({}) as never })), /model/)
  t.throws(() => new Er({ memory: 0 }), /memory/)
  t.throws(() => new Trainer(options()).result, ArgumentError)
  t.end()
})

test('a loss that is no number stops the run before parameters change', async (t) => {
  const trainer = new Trainer(
    options({ strategies: [{ name: 'broken', loss: (_, loss) => loss.mul(Number.NaN) }] }),
  )
  const before = bitsOf(trainer.context.model)
  await t.rejects(trainer.run(), NumericalError)
  t.strictSame(bitsOf(trainer.context.model), before)
})

test('files that are no checkpoint of this run are refused, and nothing is taken over', async (t) => {
  const path = join(folder, 'other.safetensors')
  const other = new Trainer(options({ seed: 6 }))
  await other.run({ checkpoint: { path, every: 1000 } })
  const mine = new Trainer(options())
  const before = bitsOf(mine.context.model)
  t.throws(() => mine.load(path), { name: 'ArgumentError', message: /its seed is 6/ })
  const bytes = readFileSync(path)
  const damaged = join(folder, 'damaged.safetensors')
  for (const cut of [0, 7, 100, bytes.length - 1]) {
    writeFileSync(damaged, bytes.subarray(0, cut))
    t.throws(() => mine.load(damaged), FormatError)
  }
  t.strictSame(bitsOf(mine.context.model), before)
  await t.rejects(mine.run({ checkpoint: { path, every: 0 } }), /checkpoint.every/)
})

test('an experience without examples is refused by name', async (t) => {
  const empty = { inputs: new Float32Array(0), labels: new Int32Array(0), shape: [16] }
  const broken: Scenario = {
    ...scenario,
    experiences: scenario.experiences.map((e) => ({ ...e, train: () => empty })),
  }
  await t.rejects(new Trainer(options({ scenario: broken })).run(), /experiences\[0\]\.train\(\)/)
})
