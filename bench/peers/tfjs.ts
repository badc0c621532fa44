/** tfjs on its wasm backend, in this process: the SGD training steps. */

import type { Peer } from './peer.js'

/** The peer, or one that says why it is not there. */
export async function tfjsPeer(): Promise<Peer> {
  const skip = (skipped: string): Peer => ({
    name: 'tfjs-wasm',
    run: async () => ({ skipped }),
    close: () => {},
  })
  try {
    const tf = await import('@tensorflow/tfjs')
    await import('@tensorflow/tfjs-backend-wasm')
    await tf.setBackend('wasm')
    await tf.ready()
    let current = ''
    let step: () => void = () => {}
    return {
      name: 'tfjs-wasm',
      close: () => {},
      run: async (row, rounds) => {
        const match = /^train sgd ([\d-]+) (\d+)$/.exec(row)
        if (!match) return { skipped: null }
        if (current !== row) {
          const dims = (match[1] as string).split('-').map(Number)
          const batch = Number(match[2])
          const weights = dims.slice(1).map((out, i) => ({
            w: tf.variable(tf.randomNormal([dims[i] as number, out], 0, 0.05)),
            b: tf.variable(tf.zeros([out])),
          }))
          const x = tf.randomNormal([batch, dims[0] as number])
          const t = tf.oneHot(
            tf.randomUniform([batch], 0, dims.at(-1) as number, 'int32'),
            dims.at(-1) as number,
          )
          const optimizer = tf.train.sgd(1e-3)
          step = () => {
            const cost = optimizer.minimize(
              () =>
                tf.tidy(() => {
                  let y: ReturnType<typeof tf.randomNormal> = x as never
                  weights.forEach(({ w, b }, i) => {
                    y = tf.add(tf.matMul(y as never, w as never), b) as never
                    if (i < weights.length - 1) y = tf.relu(y) as never
                  })
                  return tf.losses.softmaxCrossEntropy(t, y as never) as never
                }),
              true,
            )
            cost?.dataSync()
            cost?.dispose()
          }
          current = row
          step()
        }
        const ms: number[] = []
        for (let i = 0; i < rounds; i++) {
          const begin = performance.now()
          step()
          ms.push(performance.now() - begin)
        }
        return { ms }
      },
    }
  } catch (error) {
    return skip((error as Error).message)
  }
}
