import { join } from 'node:path'
import { test } from 'tap'
import {
  combinations,
  Er,
  Lwf,
  type MethodResult,
  mlp,
  permuted,
  type RunResult,
  scenarioNamed,
  scenarios,
  sectionsOf,
  strategies,
  strategiesNamed,
  study,
  Trainer,
  tuneThenEvaluate,
} from '../../lib/continual/index.js'
import type { Module } from '../../lib/nn/index.js'
import { SGD } from '../../lib/optim/index.js'
import { renderReport } from '../../lib/report/report.js'
import { clusters, small } from './tiny.js'

const data = clusters()
const base = {
  scenario: (seed: number) => permuted(data, { tasks: 3, seed }),
  model: () => small(6),
  batchSize: 16,
  seeds: [1, 2, 3],
}

test('a study runs every method on every seed and averages', async (t) => {
  const runs: { method: string; result: RunResult }[] = []
  let done = 0
  const results = await study({
    ...base,
    methods: [
      { name: 'naive', strategies: () => [] },
      { name: 'er', strategies: () => [new Er({ memory: 30 })], options: { epochs: 2 } },
    ],
    onStep: (run) => {
      t.ok(run.done >= done && run.done <= 1) || t.bailout()
      done = run.done
    },
    onRun: ({ method }, result) => void runs.push({ method, result }),
  })
  t.equal(done, 1)
  t.strictSame(
    runs.map(({ method }) => method),
    ['naive', 'naive', 'naive', 'er', 'er', 'er'],
  )
  const [naive, er] = results as [MethodResult, MethodResult]
  const own = runs.slice(0, 3).map(({ result }) => result.metrics.averageAccuracy)
  const mean = own.reduce((a, b) => a + b) / 3
  t.ok(Math.abs((naive.metrics.averageAccuracy?.mean ?? 0) - mean) < 1e-12)
  t.ok((naive.metrics.averageAccuracy?.interval ?? 0) > 0)
  t.strictSame(er.options, { er: { memory: 30, replay: undefined } })
  const html = renderReport('study', sectionsOf('study', results, ['a', 'b', 'c'], { tasks: 3 }))
  t.match(html, /<svg[\s\S]*naive[\s\S]*<svg/)
  t.notMatch(html, /src=|href=/)
  // The same run alone gives the same: seeds are all there is.
  const alone = await new Trainer({
    ...base,
    scenario: base.scenario(2),
    model: small(6),
    seed: 2,
  }).run()
  t.strictSame(alone.matrix, naive.runs[1]?.result.matrix)
})

test('a study goes on from its checkpoints', async (t) => {
  const folder = t.testdir()
  const options = {
    ...base,
    seeds: [4],
    methods: [{ name: 'lwf', strategies: () => [new Lwf()] }],
    checkpoint: (method: string, seed: number) => ({
      path: join(folder, `${method}-${seed}`),
      every: 5,
    }),
  }
  const stop = new AbortController()
  let steps = 0
  await t.rejects(
    study({ ...options, signal: stop.signal, onStep: () => void (++steps === 22 && stop.abort()) }),
    { code: 'ABORT' },
  )
  let more = 0
  const [resumed] = await study({ ...options, onStep: () => void more++ })
  t.equal(more, 45 - 20, 'from the last saved step on')
  const { checkpoint: _, ...plain } = options
  const [whole] = await study(plain)
  t.strictSame(resumed?.matrix, whole?.matrix)
})

test('the two-phase protocol chooses on one stream and judges on the other', async (t) => {
  t.strictSame(combinations({ a: [1, 2], b: [3, 4] }), [
    { a: 1, b: 3 },
    { a: 1, b: 4 },
    { a: 2, b: 3 },
    { a: 2, b: 4 },
  ])
  t.throws(() => combinations({ a: [] }), /grid\.a/)
  const seen: string[] = []
  const [naive, er] = await tuneThenEvaluate({
    algorithms: [
      { name: 'naive', grid: {}, make: () => ({ strategies: [] }) },
      {
        name: 'er',
        grid: { memory: [1, 40] },
        make: ({ memory }) => ({ strategies: [new Er({ memory: memory as number })] }),
      },
    ],
    model: () => small(6),
    batchSize: 16,
    epochs: 2,
    tuning: {
      scenario: (seed) => {
        seen.push(`tune ${seed}`)
        return permuted(data, { tasks: 3, seed })
      },
      seeds: [1],
    },
    evaluation: {
      scenario: (seed) => {
        seen.push(`judge ${seed}`)
        return permuted(clusters({ seed: 9 }), { tasks: 3, seed })
      },
      seeds: [5, 6],
    },
  })
  t.strictSame(naive?.choice, {})
  t.strictSame(
    er?.tried.map(({ choice }) => choice),
    [{ memory: 1 }, { memory: 40 }],
  )
  const best = Math.max(...(er?.tried.map(({ accuracy }) => accuracy) ?? []))
  t.equal(er?.tuned.mean, best)
  t.equal(er?.tried.find(({ choice }) => choice === er.choice)?.accuracy, best)
  t.strictSame(seen, ['tune 1', 'judge 5', 'judge 6', 'tune 1', 'tune 1', 'judge 5', 'judge 6'])
})

test('a choice under which training diverges loses; where all do, the error comes out', async (t) => {
  const phase = { scenario: base.scenario, seeds: [1] }
  const run = (lrs: number[]) =>
    tuneThenEvaluate({
      algorithms: [
        {
          name: 'naive',
          grid: { lr: lrs },
          make: ({ lr }) => ({
            strategies: [],
            options: {
              optimizer: (model: Module) => new SGD(model.parameters(), { lr: lr as number }),
            },
          }),
        },
      ],
      model: base.model,
      batchSize: base.batchSize,
      epochs: 1,
      tuning: phase,
      evaluation: phase,
    })
  const [naive] = await run([1e30, 0.1])
  t.strictSame(naive?.choice, { lr: 0.1 })
  t.equal(naive?.tried[0]?.accuracy, 0)
  t.ok((naive?.tried[1]?.accuracy ?? 0) > 0.2)
  await t.rejects(run([1e30]), { name: 'NumericalError' })
})

test('the catalog’s names all make what they say; others are refused by name', async (t) => {
  for (const name of Object.keys(scenarios)) {
    const stream = scenarioNamed(name, data, { tasks: 3, seed: 1 })
    t.equal(stream.experiences.length, 3)
    t.equal(scenarioNamed(`online-${name}`, data, { tasks: 3, seed: 1 }).online, 10)
  }
  for (const name of Object.keys(strategies)) t.equal(strategiesNamed(name)[0]?.name, name)
  t.strictSame(
    strategiesNamed('refresh+der++', { 'der++.memory': 7, 'er.memory': 3 }).map((s) => s.name),
    ['refresh', 'der++'],
  )
  t.throws(
    () => strategiesNamed('er', { 'er.size': 3 }),
    /'er' has no option 'size'; it has memory/,
  )
  t.throws(() => strategiesNamed('constructor'), { code: 'ARGUMENT' })
  t.throws(() => strategiesNamed('er+'), { code: 'ARGUMENT' })
  t.throws(() => scenarioNamed('other', data, { tasks: 3, seed: 1 }), /'scenario'/)
  t.throws(() => scenarioNamed('permuted', data, { tasks: 0, seed: 1 }), /'tasks'/)
  const net = mlp({ shape: [4, 4], outputs: 3 }, [5, 6])
  t.strictSame(
    new Trainer({
      scenario: scenarioNamed('permuted', data, { tasks: 1, seed: 1 }),
      model: net,
    }).context.parameters.map((x) => x.shape),
    [[5, 16], [5], [6, 5], [6], [3, 6], [3]],
  )
})
