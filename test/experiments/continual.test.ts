import { test } from 'tap'
import { renderReport } from '../../lib/report/report.js'
import { shortened } from './shortened.js'

for (const id of ['rehearsal-free', 'refresh', 'cl-protocol', 'mnist-baselines']) {
  test(`${id}: a shortened run measures, judges and draws`, async (t) => {
    const { experiment, result, last } = await shortened(id)
    t.equal(experiment.system, id)
    t.ok(Math.abs(last - 1) < 1e-9, 'progress ends at one')
    t.ok(result.measured.length > 5)
    t.ok(result.measured.every(({ mean }) => mean >= -1 && mean <= 1))
    t.type(result.holds, 'boolean')
    t.match(renderReport(id, result.plots), /<table>/)
  })
}
