import { test } from 'tap'
import type { Experiment } from '../../experiments/experiment.js'
import { experiments } from '../../experiments/index.js'

for (const id of ['pissa', 'opcm', 'coso', 'spectra', 'dst', 'psmt']) {
  test(`${id}: the shortened run gives figures, a verdict and pictures`, async (t) => {
    const load = experiments[id] as () => Promise<{ default: Experiment }>
    const { default: experiment } = await load()
    let last = 0
    const result = await experiment.run({
      seeds: [1],
      quick: true,
      progress: (_, fraction) => {
        last = fraction
      },
    })
    t.ok(last > 0.9 && last <= 1 + 1e-9, `progress ends at ${last}`)
    t.ok(result.measured.length > 0 && result.measured.every(({ mean }) => Number.isFinite(mean)))
    t.ok(result.verdict.length > 0 && result.plots.length > 0)
  })
}
