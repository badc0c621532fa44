/** Tensor operations as plain loops over nested indices: the slow, obvious version to compare with. */

import fc from 'fast-check'
import { Tensor } from '../../lib/index.js'

/** A shape and its values in row-major order. */
export interface Plain {
  shape: number[]
  values: number[]
}

/** All indices of a shape in row-major order. */
export function* indices(shape: readonly number[]): IterableIterator<number[]> {
  if (shape.includes(0)) return
  const index = shape.map(() => 0)
  for (;;) {
    yield [...index]
    let axis = shape.length - 1
    for (; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1
      if ((index[axis] as number) < (shape[axis] as number)) break
      index[axis] = 0
    }
    if (axis < 0) return
  }
}

/** The value at an index. */
export function at({ shape, values }: Plain, index: readonly number[]): number {
  let place = 0
  for (const [i, extent] of shape.entries()) place = place * extent + (index[i] as number)
  return values[place] as number
}

/** An array of a shape from a function of the index. */
export const build = (shape: readonly number[], f: (index: number[]) => number): Plain => ({
  shape: [...shape],
  values: [...indices(shape)].map(f),
})

/** Indices that go through one axis at a place of the others. */
export const along = (index: readonly number[], axis: number, extent: number): number[][] =>
  Array.from({ length: extent }, (_, i) => index.with(axis, i))

/** A tensor and what it should hold. */
export interface Pair {
  x: Tensor
  plain: Plain
}

/** The values of a tensor, whatever its strides. */
export const valuesOf = (x: Tensor): number[] => [x.toArray()].flat(9 as 1) as number[]

/** Whether a tensor holds what the loops gave; zeros of both signs are the same. */
export const agrees = (x: Tensor, plain: Plain): boolean => {
  const values = valuesOf(x)
  return (
    `${x.shape}` === `${plain.shape}` &&
    values.length === plain.values.length &&
    values.every((v, i) => Object.is(v + 0, (plain.values[i] as number) + 0))
  )
}

type Step = (pair: Pair) => Pair

const swap: Step = ({ x, plain }) => {
  const order = plain.shape.map((_, i) => i).reverse()
  return {
    x: x.permute(order),
    plain: build([...plain.shape].reverse(), (i) => at(plain, [...i].reverse())),
  }
}

const turn: Step = ({ x, plain }) => {
  const rank = plain.shape.length
  if (rank < 2) return { x, plain }
  const exchange = (list: readonly number[]) => [list[1], list[0], ...list.slice(2)] as number[]
  return {
    x: x.transpose(0, 1),
    plain: build(exchange(plain.shape), (i) => at(plain, exchange(i))),
  }
}

const everySecond: Step = ({ x, plain }) => {
  if (plain.shape.length === 0) return { x, plain }
  const extent = plain.shape[0] as number
  return {
    x: x.slice(0, 0, extent, 2),
    plain: build(plain.shape.with(0, Math.ceil(extent / 2)), (i) =>
      at(plain, i.with(0, 2 * (i[0] as number))),
    ),
  }
}

const behindFirst: Step = ({ x, plain }) => {
  const axis = plain.shape.length - 1
  const extent = plain.shape[axis]
  if (extent === undefined || extent < 2) return { x, plain }
  return {
    x: x.slice(axis, 1),
    plain: build(plain.shape.with(axis, extent - 1), (i) =>
      at(plain, i.with(axis, (i[axis] as number) + 1)),
    ),
  }
}

const flip: Step = ({ x, plain }) => {
  const axis = plain.shape.length - 1
  if (axis < 0) return { x, plain }
  const last = (plain.shape[axis] as number) - 1
  return {
    x: x.flip(axis),
    plain: build(plain.shape, (i) => at(plain, i.with(axis, last - (i[axis] as number)))),
  }
}

const widen: Step = ({ x, plain }) => {
  if (plain.shape.length > 3) return { x, plain }
  return {
    x: x.unsqueeze(0).expand(2, ...plain.shape),
    plain: build([2, ...plain.shape], (i) => at(plain, i.slice(1))),
  }
}

const steps = { swap, turn, everySecond, behindFirst, flip, widen }

// Quarters up to 8: their sums and the products of two are exact in every float dtype's sums.
const exact = fc.integer({ min: -32, max: 32 }).map((n) => n / 4)
const special = fc.constantFrom(Number.NaN, Infinity, -Infinity, -0)
const float = (specials: boolean) =>
  specials ? fc.oneof({ arbitrary: exact, weight: 5 }, { arbitrary: special, weight: 1 }) : exact
const element = {
  float32: float,
  float64: float,
  bfloat16: float,
  int32: () => fc.integer({ min: -9, max: 9 }),
  uint8: () => fc.integer({ min: 0, max: 9 }),
  bool: () => fc.integer({ min: 0, max: 1 }),
}
type Dtype = keyof typeof element

export interface ViewOptions {
  dtypes?: readonly Dtype[]
  /** Whether floats may be NaN or infinite; true by default. */
  specials?: boolean
  minRank?: number
  maxRank?: number
  /** The least extent; 0 by default. */
  least?: number
}

/** Tensors of all dtypes, extents and strides, with what they should hold. */
export function views({
  dtypes = ['float32', 'float64', 'bfloat16', 'int32', 'uint8', 'bool'],
  specials = true,
  minRank = 0,
  maxRank = 3,
  least = 0,
}: ViewOptions = {}): fc.Arbitrary<Pair> {
  const shapes = fc.array(fc.integer({ min: least, max: 4 }), {
    minLength: minRank,
    maxLength: maxRank,
  })
  const names = Object.keys(steps) as (keyof typeof steps)[]
  const ways = fc.array(fc.constantFrom(...names), { maxLength: 3 })
  return fc
    .tuple(shapes, fc.constantFrom(...dtypes), ways)
    .chain(([shape, dtype, way]) => {
      const size = shape.reduce((a, b) => a * b, 1)
      const values = fc.array(element[dtype](specials), { minLength: size, maxLength: size })
      return values.map((list) => ({ shape, dtype, way, list }))
    })
    .map(({ shape, dtype, way, list }) => {
      const whole = Tensor.from({ data: Float64Array.from(list), shape })
      const start: Pair = {
        x: dtype === 'float64' ? whole : whole.to(dtype),
        plain: { shape, values: list },
      }
      return way.reduce((pair, name) => steps[name](pair), start)
    })
}
