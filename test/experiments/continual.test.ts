import { test } from 'tap'
import { experiments } from '../../experiments/index.js'
import { renderReport } from '../../lib/report/report.js'

for (const id of ['rehearsal-free', 'refresh', 'cl-protocol', 'mnist-baselines']) {
  test(`${id}: a shortened run measures, judges and draws`, async (t) => {
    const load = experiments[id]
    const experiment = (await load?.())?.default
    if (!experiment) return t.fail('no such experiment')
    t.equal(experiment.system, id)
    let last = 0
    const result = await experiment.run({
      seeds: [1],
      quick: true,
      progress: (_, fraction) => {
        last = fraction
      },
    })
    t.ok(Math.abs(last - 1) < 1e-9, 'progress ends at one')
    t.ok(result.measured.length > 5)
    t.ok(result.measured.every(({ mean }) => mean >= -1 && mean <= 1))
    t.type(result.holds, 'boolean')
    t.match(renderReport(id, result.plots), /<table>/)
  })
}
