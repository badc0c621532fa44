import { test } from 'tap'
import { shortened } from './shortened.js'

for (const id of ['pissa', 'opcm', 'coso', 'spectra', 'dst', 'psmt']) {
  test(`${id}: the shortened run gives figures, a verdict and pictures`, async (t) => {
    const { result, last } = await shortened(id)
    t.ok(last > 0.9 && last <= 1 + 1e-9, `progress ends at ${last}`)
    t.ok(result.measured.length > 0 && result.measured.every(({ mean }) => Number.isFinite(mean)))
    t.ok(result.verdict.length > 0 && result.plots.length > 0)
  })
}
