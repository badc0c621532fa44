import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import tap, { test } from 'tap'
import { type Tensor, tensor } from '../../lib/index.js'
import {
  loadSafetensors,
  loadState,
  type StateValue,
  saveSafetensors,
  saveState,
} from '../../lib/io/index.js'
import { agrees, views } from '../tensor/plain.js'

const folder = tap.testdir()
const path = join(folder, 'x.safetensors')
const runs = { numRuns: 80 }
const name = fc.oneof(
  fc.string({ maxLength: 12 }).filter((text) => text !== '__metadata__' && text !== '$'),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'a.b', 'a', "a'"),
)
const dictionary = <T>(values: fc.Arbitrary<T>) =>
  fc.dictionary(name, values, { maxKeys: 4, noNullPrototype: true })

test('tensors come back from a file as they were, whatever their names, dtypes and strides', async () => {
  fc.assert(
    fc.property(dictionary(views()), dictionary(fc.string()), (pairs, metadata) => {
      const tensors = Object.fromEntries(Object.entries(pairs).map(([key, { x }]) => [key, x]))
      saveSafetensors(path, tensors, metadata)
      const found = loadSafetensors(path)
      return (
        Object.keys(found).length === Object.keys(pairs).length &&
        Object.entries(pairs).every(([key, { x, plain }]) => {
          const y = found[key] as Tensor
          return y.dtype === x.dtype && agrees(y, plain)
        })
      )
    }),
    runs,
  )
})

test('states come back: nested lists and objects of numbers, text, arrays and tensors', async (t) => {
  const numbers = fc.array(fc.double(), { maxLength: 5 })
  const { state } = fc.letrec<{ state: StateValue }>((tie) => ({
    state: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constant(null),
      fc.boolean(),
      fc.double(),
      fc.string(),
      numbers.map((list) => Float32Array.from(list)),
      fc.array(fc.integer(), { maxLength: 5 }).map((list) => Int32Array.from(list)),
      fc.array(tie('state'), { maxLength: 3 }),
      dictionary(tie('state')),
    ) as fc.Arbitrary<StateValue>,
  }))
  fc.assert(
    fc.property(state, (value) => {
      saveState(path, value)
      return isDeepStrictEqual(loadState(path), value)
    }),
    runs,
  )
  saveState(path, { x: tensor([1, 2]) })
  t.same(((loadState(path) as { x: Tensor }).x as Tensor).toArray(), [1, 2])
})
