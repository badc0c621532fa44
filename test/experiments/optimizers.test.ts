import { test } from 'tap'
import normuon from '../../experiments/normuon.js'
import { stepsToReach } from '../../experiments/optimizer-race.js'
import wdScaling from '../../experiments/wd-scaling.js'
import { renderReport } from '../../lib/report/report.js'

for (const experiment of [normuon, wdScaling]) {
  test(`${experiment.system}: a shortened run gives every figure, a verdict and plots`, async (t) => {
    const fractions: number[] = []
    const { measured, verdict, plots } = await experiment.run({
      seeds: [1],
      quick: true,
      progress: (_, fraction) => fractions.push(fraction),
    })
    t.ok(
      measured.every(({ mean }) => Number.isFinite(mean)),
      JSON.stringify(measured),
    )
    t.ok(verdict.length > 50)
    t.ok(fractions.every((x) => x > 0 && x <= 1))
    t.match(renderReport('test', plots), /<svg/)
    const aborted = experiment.run({
      seeds: [1],
      quick: true,
      progress: () => {},
      signal: AbortSignal.abort(),
    })
    await t.rejects(aborted, { code: 'ABORT' })
  })
}

test('steps to a loss: on the line between budgets, and beyond them', async (t) => {
  const points = [
    { steps: 10, loss: 3 },
    { steps: 20, loss: 2 },
    { steps: 40, loss: 1.5 },
  ]
  t.equal(stepsToReach(points, 2.5), 15)
  t.equal(stepsToReach(points, 1.5), 40)
  t.equal(stepsToReach(points, 1.4), 44, 'the last line goes on')
  t.equal(stepsToReach(points, -9), 80, 'to twice the budget at most')
  t.equal(stepsToReach(points, 5), 10)
  t.equal(stepsToReach([points[0], { steps: 20, loss: 3 }] as never, 1), 40, 'never')
})
