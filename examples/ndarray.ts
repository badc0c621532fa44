/**
 * Softmax regression on scijs ndarrays, trained by Muon: views of any offset are updated in place.
 *
 *     node dist/examples/ndarray.js [steps]
 */

import ndarray from 'ndarray'
import { digits } from 'palimpsest/data'
import { matmul } from 'palimpsest/linalg'
import { AdamW, Muon } from 'palimpsest/optim'

const steps = Number(process.argv[2] ?? 150)
const [inputs, classes, batch] = [784, 10, 64]
const { train, test } = digits()

// Weights and bias side by side in one buffer.
const memory = new Float32Array(classes * inputs + classes)
const weight = ndarray(memory, [classes, inputs], [inputs, 1], 0)
const bias = ndarray(memory, [classes], [1], classes * inputs)
const muon = new Muon([weight], { lr: 0.02, weightDecay: 0.01 })
const adamw = new AdamW([bias], { lr: 0.01 })

/** Class probabilities of rows of images. */
function predict(x: ndarray.NdArray<Float32Array>) {
  const y = matmul(x, weight, { transposeB: true }).toNdarray() as ndarray.NdArray<Float32Array>
  for (let i = 0; i < (y.shape[0] as number); i++) {
    let sum = 0
    for (let j = 0; j < classes; j++) sum += y.set(i, j, Math.exp(y.get(i, j) + bias.get(j)))
    for (let j = 0; j < classes; j++) y.set(i, j, y.get(i, j) / sum)
  }
  return y
}

for (let step = 0; step < steps; step++) {
  const begin = (step * batch) % (train.labels.length - batch)
  const x = ndarray(train.inputs, [batch, inputs], [inputs, 1], begin * inputs)
  const p = predict(x)
  const db = ndarray(new Float32Array(classes), [classes])
  for (let i = 0; i < batch; i++) {
    const label = train.labels[begin + i] as number
    p.set(i, label, p.get(i, label) - 1)
    for (let j = 0; j < classes; j++) {
      p.set(i, j, p.get(i, j) / batch)
      db.set(j, db.get(j) + p.get(i, j))
    }
  }
  const dw = matmul(p, x, { transposeA: true })
  muon.step([dw])
  adamw.step([db])
}

const p = predict(ndarray(test.inputs, [test.labels.length, inputs]))
let hits = 0
for (let i = 0; i < test.labels.length; i++) {
  let best = 0
  for (let j = 1; j < classes; j++) if (p.get(i, j) > p.get(i, best)) best = j
  if (best === test.labels[i]) hits++
}
console.log(`accuracy after ${steps} steps: ${((100 * hits) / test.labels.length).toFixed(2)} %`)
