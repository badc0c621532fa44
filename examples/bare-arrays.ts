/**
 * A training loop written by hand on typed arrays, with NorMuon and AdamW from Palimpsest: nothing is
 * copied, the optimizer updates the arrays in place.
 *
 *     node dist/examples/bare-arrays.js [steps]
 */

import { digits } from 'palimpsest/data'
import { NorMuon } from 'palimpsest/optim'

const steps = Number(process.argv[2] ?? 150)
const [inputs, hidden, classes, batch] = [784, 64, 10, 64]
const { train, test } = digits()

// Weights [out, in], uniform in ±1/√in.
let seed = 1
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const uniform = (n: number, bound: number) =>
  Float32Array.from({ length: n }, () => (2 * random() - 1) * bound)
const w1 = uniform(hidden * inputs, 1 / Math.sqrt(inputs))
const b1 = new Float32Array(hidden)
const w2 = uniform(classes * hidden, 1 / Math.sqrt(hidden))
const b2 = new Float32Array(classes)

// One optimizer: the hidden matrix by NorMuon, all else by AdamW.
const optimizer = new NorMuon([
  { params: [{ data: w1, shape: [hidden, inputs] }], lr: 0.05, weightDecay: 0.01 },
  {
    algorithm: 'adamw',
    params: [
      { data: b1, shape: [hidden] },
      { data: w2, shape: [classes, hidden] },
      { data: b2, shape: [classes] },
    ],
    lr: 0.005,
  },
])

/** y[i] = Σ W[i, j]·x[j] + b[i] */
function affine(w: Float32Array, b: Float32Array, x: Float32Array): Float32Array {
  return b.map((bias, i) => {
    let sum = bias
    for (let j = 0; j < x.length; j++) sum += (w[i * x.length + j] as number) * (x[j] as number)
    return sum
  })
}

function forward(x: Float32Array) {
  const h = affine(w1, b1, x).map((v) => Math.max(0, v))
  const z = affine(w2, b2, h)
  const top = Math.max(...z)
  const e = z.map((v) => Math.exp(v - top))
  const sum = e.reduce((a, b) => a + b, 0)
  return { h, p: e.map((v) => v / sum) }
}

const image = (data: typeof train, i: number) => data.inputs.subarray(i * inputs, (i + 1) * inputs)

const gradients = [w1, b1, w2, b2].map((p) => new Float32Array(p.length))
const [g1, gb1, g2, gb2] = gradients as [Float32Array, Float32Array, Float32Array, Float32Array]
for (let step = 0; step < steps; step++) {
  for (const g of gradients) g.fill(0)
  for (let k = 0; k < batch; k++) {
    const at = Math.floor(random() * train.labels.length)
    const x = image(train, at)
    const { h, p } = forward(x)
    const dh = new Float32Array(hidden)
    for (let i = 0; i < classes; i++) {
      const dz = ((p[i] as number) - (i === train.labels[at] ? 1 : 0)) / batch
      gb2[i] = (gb2[i] as number) + dz
      for (let j = 0; j < hidden; j++) {
        g2[i * hidden + j] = (g2[i * hidden + j] as number) + dz * (h[j] as number)
        dh[j] = (dh[j] as number) + dz * (w2[i * hidden + j] as number)
      }
    }
    for (let i = 0; i < hidden; i++) {
      if (!((h[i] as number) > 0)) continue
      gb1[i] = (gb1[i] as number) + (dh[i] as number)
      for (let j = 0; j < inputs; j++) {
        g1[i * inputs + j] = (g1[i * inputs + j] as number) + (dh[i] as number) * (x[j] as number)
      }
    }
  }
  optimizer.step([
    { data: g1, shape: [hidden, inputs] },
    { data: gb1, shape: [hidden] },
    { data: g2, shape: [classes, hidden] },
    { data: gb2, shape: [classes] },
  ])
}

let hits = 0
for (let i = 0; i < test.labels.length; i++) {
  const { p } = forward(image(test, i))
  if (p.indexOf(Math.max(...p)) === test.labels[i]) hits++
}
console.log(`accuracy after ${steps} steps: ${((100 * hits) / test.labels.length).toFixed(2)} %`)
