/** The GPU benchmark, at small sizes on every device that is there; without one it says so. */

import { test } from 'tap'
import { benchDevice, listRows } from '../../bench/cuda/run.js'
import { acceleratorsUnderTest } from '../devices.js'

test('without a device nothing is measured, and the reason is told', async (t) => {
  t.match(await benchDevice({ device: 'nothing:0' }), { reason: /nothing/ })
  t.match(await benchDevice({ device: 'cuda:99' }), { reason: /\S/ })
})

test('every bar names a peer that there is, or the reason why nothing can be asked', async (t) => {
  const rows = await listRows([])
  t.ok(rows.length > 15)
  for (const { name, bars, peers } of rows) {
    t.ok(bars.length > 0, name)
    // Without Python, or when it ended, its reason stands for all of them.
    const known = Object.keys(peers)
    t.ok(known.length === 1 || bars.every(([peer]) => known.includes(peer)), `${name}: ${known}`)
    for (const why of Object.values(peers)) t.type(why, 'string')
  }
})

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`bench rows on ${id}`, { skip: skip ?? false }, async (t) => {
    const outcome = await benchDevice({ device: id, small: true, rounds: 1, peers: false })
    if (!('document' in outcome)) return t.fail(outcome.reason)
    t.equal(outcome.document.results.length, 9)
    for (const { name, error, rate, ms } of outcome.document.results) {
      t.ok(rate > 0 && ms.median > 0, name)
      t.ok(error < 0.05, `${name}: error ${error}`)
    }
  })
}
