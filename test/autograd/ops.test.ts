import { test } from 'tap'
import * as ops from '../../lib/autograd/ops/index.js'
import { gradcheck } from '../../lib/index.js'
import { gradcheckTwice } from '../fixtures.js'
import { cases, withoutGradient } from './cases.js'

test('every operation is checked, or marked as one without a gradient', async (t) => {
  const exported = Object.entries(ops)
    .filter(([, value]) => typeof value === 'function')
    .map(([name]) => name)
  const listed = [...Object.keys(cases), ...Object.keys(withoutGradient)]
  t.same(
    exported.filter((name) => !listed.includes(name)),
    [],
    'exported without a case or a mark',
  )
  t.same(
    listed.filter((name) => !exported.includes(name)),
    [],
    'listed, but not exported',
  )
  t.equal(new Set(listed).size, listed.length, 'nothing is listed twice')
})

for (const [name, list] of Object.entries(cases)) {
  test(`${name}: gradients, and their gradients`, async (t) => {
    for (const [i, { fn, inputs, once }] of list.entries()) {
      t.doesNotThrow(() => gradcheck(fn, inputs), `case ${i}`)
      if (!once) {
        t.doesNotThrow(
          () => gradcheckTwice(fn, inputs, { atol: 2e-5, rtol: 2e-5 }),
          `case ${i}, twice`,
        )
      }
    }
  })
}
