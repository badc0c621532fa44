import { test } from 'tap'
import { begin, number, view } from '../../lib/engine/call.js'
import { ArgumentError, DisposedError, DTypeError, ShapeError } from '../../lib/engine/errors.js'
import { native } from '../../lib/engine/native.js'

const matrix = (rows: number, cols: number, offset = 0) => ({
  dtypeCode: 0,
  offset,
  shape: [rows, cols],
  strides: [cols, 1],
})

function product(
  a: Float32Array,
  b: Float32Array,
  out: Float32Array,
  shapes = [matrix(2, 3), matrix(3, 2), matrix(2, 2)],
) {
  begin()
  for (const shape of shapes) view(shape)
  for (const value of [1, 0, 0, 0]) number(value)
  native.matmul(a, b, out, null)
}

test('a product', async (t) => {
  const out = new Float32Array(4)
  product(Float32Array.of(1, 2, 3, 4, 5, 6), Float32Array.of(1, 0, 0, 1, 1, 1), out)
  t.same([...out], [4, 5, 10, 11])
})

test('the engine refuses what would reach outside a buffer', async (t) => {
  const a = new Float32Array(6)
  t.throws(() => product(a, a, new Float32Array(3)), ShapeError)
  t.throws(
    () => product(a, a, new Float32Array(4), [matrix(2, 3, 1), matrix(3, 2), matrix(2, 2)]),
    ShapeError,
  )
  t.throws(
    () => product(a, a, new Float32Array(4), [matrix(2, 3), matrix(2, 3), matrix(2, 2)]),
    ShapeError,
  )
})

test('the engine refuses wrong and detached arrays', async (t) => {
  const a = new Float32Array(6)
  const wrong = new Int32Array(6) as unknown as Float32Array
  t.throws(() => product(wrong, a, new Float32Array(4)), DTypeError)
  const detached = new Float32Array(6)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  t.throws(() => product(detached, a, new Float32Array(4)), DisposedError)
  t.throws(() => native.matmul(), ArgumentError)
})
