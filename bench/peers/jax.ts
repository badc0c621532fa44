/** jax-js on its wasm backend: matrix products and SGD training steps, compiled by its jit. */

import type * as Jax from '@jax-js/jax'
import { matmulRow, numbers, type Recipe, type Round, scriptPeer, trainRow } from './script.js'

type Layers = { w: Jax.Array; b: Jax.Array }[]

function train(jax: typeof Jax, dims: number[], batch: number): Round {
  const { numpy: np, nn, random, tree } = jax
  let layers: Layers = dims.slice(1).map((out, i) => ({
    w: random.normal(random.key(i), [dims[i] as number, out]).mul(0.05),
    b: np.zeros([out]),
  }))
  const x = random.normal(random.key(dims.length), [batch, dims[0] as number])
  const classes = dims.at(-1) as number
  const labels = Array.from({ length: batch }, (_, i) => (i * 7) % classes)
  const t = nn.oneHot(np.array(labels, { dtype: np.int32 }), classes)
  const loss = (net: Layers, input: Jax.Array, target: Jax.Array) => {
    let y = input
    net.forEach(({ w, b }, i) => {
      const z = np.matmul(y, w).add(b)
      y = i < net.length - 1 ? nn.relu(z) : z
    })
    return nn
      .logSoftmax(y)
      .mul(target)
      .sum()
      .mul(-1 / batch)
  }
  const step = jax.jit((net: Layers, input: Jax.Array, target: Jax.Array): [Jax.Array, Layers] => {
    const [cost, slopes] = jax.valueAndGrad(loss)(tree.ref(net), input, target)
    const next = net.map(({ w, b }, i) => {
      const slope = slopes[i] as Layers[number]
      return { w: w.sub(slope.w.mul(1e-3)), b: b.sub(slope.b.mul(1e-3)) }
    })
    return [cost, next]
  })
  return async () => {
    const [cost, next] = step(layers, x.ref, t.ref)
    layers = next
    await cost.data()
    await layers[0]?.w.blockUntilReady()
  }
}

export const jaxPeer = () =>
  scriptPeer('jax-js', async (): Promise<Recipe[]> => {
    const jax = await import('@jax-js/jax')
    await jax.init('wasm')
    jax.defaultDevice('wasm')
    const { numpy: np, random } = jax
    return [
      [
        matmulRow,
        (match) => {
          const [m, k, n] = match.slice(1).map(Number) as [number, number, number]
          const a = random.normal(random.key(0), [m, k])
          const b = random.normal(random.key(1), [k, n])
          return async () => {
            await np.matmul(a.ref, b.ref).data()
          }
        },
      ],
      [trainRow, (match) => train(jax, numbers(match[1], '-'), Number(match[2]))],
    ]
  })
