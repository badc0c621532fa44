/** Convolutions, pools and patches of random geometry against plain loops, exactly: sums of quarters. */

import fc from 'fast-check'
import { test } from 'tap'
import { grad, type Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { waves } from '../fixtures.js'
import { agrees, at, build, type Plain, valuesOf } from '../tensor/plain.js'

const runs = { numRuns: 150 }
type Pair = [number, number]
const pair = (min: number, max: number) =>
  fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })) as fc.Arbitrary<Pair>

const geometry = fc
  .record({
    n: fc.integer({ min: 1, max: 3 }),
    groups: fc.integer({ min: 1, max: 3 }),
    perGroup: pair(1, 3),
    // Wide ones fill whole vectors.
    size: fc.oneof(
      pair(1, 9),
      fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 10, max: 40 })),
    ) as fc.Arbitrary<Pair>,
    kernel: pair(1, 4),
    stride: pair(1, 3),
    padding: pair(0, 2),
    dilation: pair(1, 2),
    bias: fc.boolean(),
    seed: fc.integer({ min: 1, max: 999 }),
    dtype: fc.constantFrom('float32' as const, 'float64' as const),
    channelsLast: fc.boolean(),
  })
  .map((o) => {
    const out = [0, 1].map(
      (i) =>
        1 +
        Math.floor(
          ((o.size[i] as number) +
            2 * (o.padding[i] as number) -
            (o.dilation[i] as number) * ((o.kernel[i] as number) - 1) -
            1) /
            (o.stride[i] as number),
        ),
    ) as Pair
    return { ...o, out, channels: o.groups * o.perGroup[0], outputs: o.groups * o.perGroup[1] }
  })
  .filter(({ out }) => out[0] > 0 && out[1] > 0)

/** Quarters in [-1, 1], and what loops read. */
function quarters(shape: number[], seed: number, dtype: 'float32' | 'float64', last = false) {
  const values = waves(shape, seed).mul(4).round().div(4)
  const x = values.to(dtype)
  // The same tensor with its channels side by side in memory.
  const laid = last ? x.permute([0, 2, 3, 1]).clone().permute([0, 3, 1, 2]) : x
  return { x: laid, plain: { shape, values: valuesOf(values) } as Plain }
}

/** The places (and taps) of an image that a window covers. */
function* covered(o: Geometry, row: number, col: number) {
  for (let i = 0; i < o.kernel[0]; i++) {
    for (let j = 0; j < o.kernel[1]; j++) {
      const y = row * o.stride[0] - o.padding[0] + i * o.dilation[0]
      const x = col * o.stride[1] - o.padding[1] + j * o.dilation[1]
      if (y >= 0 && y < o.size[0] && x >= 0 && x < o.size[1]) yield [y, x, i, j] as const
    }
  }
}
type Geometry = typeof geometry extends fc.Arbitrary<infer G> ? G : never

const zeros = (shape: readonly number[]): Plain => build(shape, () => 0)
function addAt({ shape, values }: Plain, index: readonly number[], value: number): void {
  const place = shape.reduce((n, extent, k) => n * extent + (index[k] as number), 0)
  values[place] = (values[place] as number) + value
}

test('conv2d and its gradients', async () => {
  fc.assert(
    fc.property(geometry, (o) => {
      const image = quarters([o.n, o.channels, ...o.size], o.seed, o.dtype, o.channelsLast)
      const shape = [o.outputs, o.perGroup[0], ...o.kernel]
      const weight = quarters(shape, o.seed + 1, o.dtype)
      const bias = quarters([o.outputs], o.seed + 2, o.dtype)
      const slope = quarters([o.n, o.outputs, ...o.out], o.seed + 3, o.dtype)
      const [y, dx, dw, db] = [
        build([o.n, o.outputs, ...o.out], ([, k]) => (o.bias ? at(bias.plain, [k as number]) : 0)),
        zeros(image.plain.shape),
        zeros(shape),
        zeros([o.outputs]),
      ]
      for (let n = 0; n < o.n; n++) {
        for (let k = 0; k < o.outputs; k++) {
          const first = Math.floor(k / o.perGroup[1]) * o.perGroup[0]
          for (let row = 0; row < o.out[0]; row++) {
            for (let col = 0; col < o.out[1]; col++) {
              const g = at(slope.plain, [n, k, row, col])
              addAt(db, [k], g)
              for (let c = 0; c < o.perGroup[0]; c++) {
                for (const [yy, xx, i, j] of covered(o, row, col)) {
                  const pixel = [n, first + c, yy, xx]
                  const tap = [k, c, i, j]
                  addAt(y, [n, k, row, col], at(image.plain, pixel) * at(weight.plain, tap))
                  addAt(dx, pixel, g * at(weight.plain, tap))
                  addAt(dw, tap, g * at(image.plain, pixel))
                }
              }
            }
          }
        }
      }
      const leaf = ({ x: values }: { x: Tensor }) => {
        const x = values.detach()
        x.requiresGrad = true
        return x
      }
      const [x, w, b] = [leaf(image), leaf(weight), leaf(bias)]
      const { stride, padding, dilation, groups } = o
      const found = nn.conv2d(x, w, o.bias ? b : null, { stride, padding, dilation, groups })
      const inputs = o.bias ? [x, w, b] : [x, w]
      const grads = grad(found, inputs, { gradOutput: slope.x })
      const back = nn.convTranspose2d(slope.x, w, null, {
        stride,
        padding,
        dilation,
        groups,
        outputPadding: [0, 1].map(
          (i) =>
            (o.size[i] as number) +
            2 * (padding[i] as number) -
            (dilation[i] as number) * ((o.kernel[i] as number) - 1) -
            1 -
            ((o.out[i] as number) - 1) * (stride[i] as number),
        ) as Pair,
      })
      return (
        agrees(found, y) &&
        agrees(grads[0] as Tensor, dx) &&
        agrees(grads[1] as Tensor, dw) &&
        (!o.bias || agrees(grads[2] as Tensor, db)) &&
        agrees(back, dx)
      )
    }),
    runs,
  )
})

test('pools: padding is no maximum and counts in no mean', async () => {
  fc.assert(
    fc.property(geometry, (o) => {
      const { n, channels, size, kernel, stride, out, seed, dtype, channelsLast } = o
      const padding = o.padding.map((p, i) => Math.min(p, (kernel[i] as number) >> 1)) as Pair
      const image = quarters([n, channels, ...size], seed, dtype, channelsLast)
      const extents = [0, 1].map(
        (i) =>
          1 +
          Math.floor(
            ((size[i] as number) + 2 * (padding[i] as number) - (kernel[i] as number)) /
              (stride[i] as number),
          ),
      ) as Pair
      if (extents.some((e) => e < 1)) return true
      const g = { ...o, padding, out, dilation: [1, 1] as Pair }
      const window = (index: number[]) =>
        [...covered(g, index[2] as number, index[3] as number)].map(([y, x]) =>
          at(image.plain, [index[0] as number, index[1] as number, y, x]),
        )
      const shape = [n, channels, ...extents]
      const largest = build(shape, (index) => Math.max(...window(index)))
      const sums = build(shape, (index) => window(index).reduce((a, b) => a + b, 0))
      const taps = kernel[0] * kernel[1]
      const mean = nn.avgPool2d(image.x, kernel, { stride, padding })
      const means = valuesOf(mean)
      return (
        agrees(nn.maxPool2d(image.x, kernel, { stride, padding }), largest) &&
        sums.values.every((sum, i) => Math.abs((means[i] as number) - sum / taps) < 1e-6)
      )
    }),
    runs,
  )
})

test('unfold takes the windows, fold adds them back', async () => {
  fc.assert(
    fc.property(geometry, (o) => {
      const { n, channels, size, kernel, stride, padding, dilation, out, seed, dtype } = o
      const image = quarters([n, channels, ...size], seed, dtype, o.channelsLast)
      const taps = kernel[0] * kernel[1]
      const shape = [n, channels * taps, out[0] * out[1]]
      const columns = zeros(shape)
      const folded = zeros([n, channels, ...size])
      for (let b = 0; b < n; b++) {
        for (let c = 0; c < channels; c++) {
          for (let place = 0; place < out[0] * out[1]; place++) {
            for (const [y, x, i, j] of covered(o, Math.floor(place / out[1]), place % out[1])) {
              const value = at(image.plain, [b, c, y, x])
              addAt(columns, [b, c * taps + i * kernel[1] + j, place], value)
              addAt(folded, [b, c, y, x], value)
            }
          }
        }
      }
      const options = { stride, padding, dilation }
      const found = nn.unfold(image.x, kernel, options)
      return agrees(found, columns) && agrees(nn.fold(found, size, kernel, options), folded)
    }),
    runs,
  )
})
