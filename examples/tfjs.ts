/**
 * A TensorFlow.js model compiled with NorMuon, trained on digits with `fit`.
 *
 *     node dist/examples/tfjs.js [steps]
 */

import * as tf from '@tensorflow/tfjs'
import { digits } from 'palimpsest/data'
import { norMuon } from 'palimpsest/tfjs'

await tf.setBackend('cpu')
const steps = Number(process.argv[2] ?? 60)
const { train, test } = digits()
const batch = 128
const count = Math.min(train.labels.length, steps * batch)

const model = tf.sequential({
  layers: [
    tf.layers.dense({ inputShape: [784], units: 64, activation: 'relu' }),
    tf.layers.dense({ units: 10, activation: 'softmax' }),
  ],
})
model.compile({
  optimizer: norMuon({ lr: 0.05, weightDecay: 0.01, rest: { lr: 0.005 } }),
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
})
await model.fit(
  tf.tensor2d(train.inputs.subarray(0, count * 784), [count, 784]),
  tf.tensor1d(Float32Array.from(train.labels.subarray(0, count))),
  { batchSize: batch, epochs: Math.ceil((steps * batch) / count), verbose: 0 },
)
const [, accuracy] = model.evaluate(
  tf.tensor2d(test.inputs, [test.labels.length, 784]),
  tf.tensor1d(Float32Array.from(test.labels)),
) as tf.Scalar[]
const percent = 100 * ((await accuracy?.data())?.[0] ?? 0)
console.log(`accuracy after ${steps} steps: ${percent.toFixed(2)} %`)
