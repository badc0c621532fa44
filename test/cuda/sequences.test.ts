/** Selective scan, causal convolution and spiking neurons on every device against the CPU's. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { acceleratorsUnderTest } from '../devices.js'

type Make = (...xs: p.Tensor[]) => p.Tensor

for (const { id, skip } of acceleratorsUnderTest()) {
  // The stand-in runs the CPU's own kernels: nothing would be compared.
  if (id.startsWith('test')) continue
  test(`sequences on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(31)
    const random = (...shape: number[]) => p.randn(shape, { generator: g })

    /** Values and gradients of all inputs, which agree to a part of their own size. */
    const both = (name: string, f: Make, inputs: p.Tensor[]) => {
      for (const dtype of ['float32', 'float64'] as const) {
        const run = (device: string) => {
          const xs = inputs.map((x) => x.to(dtype).to(device).detach().requireGrad())
          const y = f(...xs)
          y.mul(y.detach().add(1)).sum().backward()
          return [y, ...xs.map((x) => x.grad as p.Tensor)].map((x) => x.detach().to('cpu'))
        }
        const [got, expected] = [run(id), run('cpu')]
        for (const [i, x] of expected.entries()) {
          const error = (got[i] as p.Tensor).sub(x).norm().item()
          const size = x.norm().item()
          const tolerance = dtype === 'float32' ? 1e-5 : 1e-13
          t.ok(error <= tolerance * size, `${name} ${dtype}, ${i}: ${error} of ${size}`)
        }
      }
    }

    // Channels beyond a block, states beyond sixteen, times beyond a chunk.
    for (const [batch, time, channels, states] of [
      [2, 70, 19, 16],
      [1, 33, 3, 20],
      [3, 5, 40, 1],
    ] as [number, number, number, number][]) {
      const scan: Make = (u, delta, a, b, c, d) =>
        nn.selectiveScan(
          u as p.Tensor,
          (delta as p.Tensor).softplus(),
          (a as p.Tensor).exp().neg(),
          b as p.Tensor,
          c as p.Tensor,
          d ?? null,
        )
      const inputs = [
        random(batch, time, channels),
        random(batch, time, channels),
        random(channels, states),
        random(batch, time, states),
        random(batch, time, states),
      ]
      both(`scan ${[batch, time, channels, states]}`, scan, inputs)
      both(`scan with D ${[batch, time, channels, states]}`, scan, [...inputs, random(channels)])
    }
    const conv: Make = (x, w, b) => nn.causalConv1d(x as p.Tensor, w as p.Tensor, b ?? null)
    both('causal convolution', conv, [random(2, 37, 35), random(35, 4), random(35)])
    both('causal convolution without bias', conv, [random(1, 3, 5), random(5, 7)])
    for (const surrogate of ['atan', 'sigmoid', 'fastSigmoid', 'rectangle'] as const) {
      for (const reset of ['soft', 'hard'] as const) {
        const spikes: Make = (x) =>
          nn.lif((x as p.Tensor).mul(2), { surrogate, reset, decay: 0.8 }).spikes
        both(`spikes, ${surrogate}, ${reset}`, spikes, [random(9, 5, 40)])
      }
    }
  })
}
