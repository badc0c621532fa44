import { test } from 'tap'
import * as p from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'
import { allocations } from '../../lib/tensor/storage.js'

function training() {
  const generator = new p.Generator(2)
  const net = new nn.GPT({
    vocabulary: 11,
    context: 8,
    layers: 1,
    heads: 2,
    width: 16,
    dropout: 0.1,
    generator,
  })
  const optimizer = new AdamW(net.parameters(), { lr: 0.01 })
  const x = p.randint(0, 11, [4, 8], { generator })
  const y = p.randint(0, 11, [32], { generator })
  const forward = () => nn.crossEntropy(net.forward(x).reshape(32, 11), y)
  return { net, optimizer, forward }
}

test('a training step allocates no tensor memory after the first ones', async (t) => {
  const { optimizer, forward } = training()
  const step = () =>
    p.scope(() => {
      const loss = forward()
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss.item()
    })
  step()
  step()
  const before = allocations()
  for (let i = 0; i < 50; i++) step()
  t.equal(allocations(), before)
})

test('gradients give their memory back during the backward pass', async (t) => {
  // A chain of 40 operations on 1 MB: without that, 40 gradients would be there at once.
  const x = p.ones([512, 512], { requiresGrad: true })
  p.clearRecycled()
  const y = p.scope(() => {
    let z: p.Tensor = x
    for (let i = 0; i < 40; i++) z = z.mul(1.001)
    return z
  })
  const loss = y.sum()
  p.clearRecycled()
  const before = allocations()
  loss.backward()
  t.ok(allocations() - before <= 6, `${allocations() - before} allocations`)
})

const rss = () => process.memoryUsage().rss

test('memory stays flat over thousands of steps, with and without scope', async (t) => {
  const { optimizer, forward, net } = training()
  const steps = {
    scoped: () =>
      p.scope(() => {
        forward().backward()
        optimizer.step()
        optimizer.zeroGrad()
      }),
    disposed: () => {
      const loss = forward()
      loss.backward()
      loss.dispose()
      optimizer.step()
      optimizer.zeroGrad()
    },
    left: () => {
      forward().backward()
      net.zeroGrad()
    },
  }
  for (const [name, step] of Object.entries(steps)) {
    for (let i = 0; i < 200; i++) step()
    const before = rss()
    for (let i = 0; i < 1000; i++) step()
    const growth = (rss() - before) / 2 ** 20
    t.ok(growth < 64, `${name}: grew by ${growth.toFixed(1)} MiB`)
  }
})
