/**
 * jax-js computes loss and gradients, NorMuon from Palimpsest the updates, in the style of optax.
 *
 *     node dist/examples/jax.js [steps]
 */

import { defaultDevice, init, jit, nn, numpy as np, random, tree, valueAndGrad } from '@jax-js/jax'
import { digits } from 'palimpsest/data'
import { applyUpdates, norMuon } from 'palimpsest/jax'

await init('wasm')
defaultDevice('wasm')
const steps = Number(process.argv[2] ?? 100)
const { train, test } = digits()
const batch = 128

type Layer = { w: np.Array; b: np.Array }
let params: Layer[] = [
  { w: random.normal(random.key(0), [784, 64]).mul(1 / 28), b: np.zeros([64]) },
  { w: random.normal(random.key(1), [64, 10]).mul(1 / 8), b: np.zeros([10]) },
]

function logits([first, second]: Layer[], x: np.Array): np.Array {
  const { w, b } = first as Layer
  const h = nn.relu(np.matmul(x, w).add(b))
  return np.matmul(h, (second as Layer).w).add((second as Layer).b)
}
function loss(layers: Layer[], x: np.Array, target: np.Array): np.Array {
  return nn
    .logSoftmax(logits(layers, x))
    .mul(target)
    .sum()
    .mul(-1 / batch)
}
const slopes = jit((layers: Layer[], x: np.Array, target: np.Array) =>
  valueAndGrad(loss)(layers, x, target),
)

const array = (data: Float32Array, shape: number[]) =>
  np.array(data as Float32Array<ArrayBuffer>, { shape })

const solver = norMuon(0.05, { weightDecay: 0.01, rest: { lr: 0.1 } })
let state = solver.init(tree.ref(params))
for (let step = 0; step < steps; step++) {
  const begin = (step * batch) % (train.labels.length - batch)
  const x = array(train.inputs.slice(begin * 784, (begin + batch) * 784), [batch, 784])
  const labels = Array.from(train.labels.subarray(begin, begin + batch))
  const target = nn.oneHot(np.array(labels, { dtype: np.int32 }), 10)
  const [value, gradients] = slopes(tree.ref(params), x, target)
  value.dispose()
  const [updates, next] = solver.update(gradients, state, tree.ref(params))
  state = next
  params = applyUpdates(params, updates)
}
tree.dispose(state)

const scores = logits(params, array(test.inputs, [test.labels.length, 784])).dataSync()
let hits = 0
for (let i = 0; i < test.labels.length; i++) {
  const row = scores.subarray(i * 10, (i + 1) * 10)
  if (row.indexOf(Math.max(...row)) === test.labels[i]) hits++
}
console.log(`accuracy after ${steps} steps: ${((100 * hits) / test.labels.length).toFixed(2)} %`)
