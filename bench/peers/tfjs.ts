/** tfjs on its wasm backend: matrix products and SGD training steps. */

import type * as Tfjs from '@tensorflow/tfjs'
import { matmulRow, numbers, type Recipe, type Round, scriptPeer, trainRow } from './script.js'

function train(tf: typeof Tfjs, dims: number[], batch: number): Round {
  const classes = dims.at(-1) as number
  const layers = dims.slice(1).map((out, i) => ({
    w: tf.variable(
      tf.randomNormal([dims[i] as number, out], 0, 0.05),
    ) as Tfjs.Variable<Tfjs.Rank.R2>,
    b: tf.variable(tf.zeros([out])),
  }))
  const x = tf.randomNormal<Tfjs.Rank.R2>([batch, dims[0] as number])
  const t = tf.oneHot(tf.randomUniform([batch], 0, classes, 'int32'), classes)
  const optimizer = tf.train.sgd(1e-3)
  const loss = () => {
    let y: Tfjs.Tensor2D = x
    layers.forEach(({ w, b }, i) => {
      const z: Tfjs.Tensor2D = tf.add(tf.matMul(y, w), b)
      y = i < layers.length - 1 ? tf.relu(z) : z
    })
    return tf.losses.softmaxCrossEntropy(t, y) as Tfjs.Scalar
  }
  return () => {
    const cost = optimizer.minimize(loss, true)
    cost?.dataSync()
    cost?.dispose()
  }
}

export const tfjsPeer = () =>
  scriptPeer('tfjs-wasm', async (): Promise<Recipe[]> => {
    const tf = await import('@tensorflow/tfjs')
    await import('@tensorflow/tfjs-backend-wasm')
    await tf.setBackend('wasm')
    await tf.ready()
    return [
      [
        matmulRow,
        (match) => {
          const [m, k, n] = match.slice(1).map(Number) as [number, number, number]
          const a = tf.randomNormal<Tfjs.Rank.R2>([m, k])
          const b = tf.randomNormal<Tfjs.Rank.R2>([k, n])
          return () => {
            const c = tf.matMul(a, b)
            c.dataSync()
            c.dispose()
          }
        },
      ],
      [trainRow, (match) => train(tf, numbers(match[1], '-'), Number(match[2]))],
    ]
  })
