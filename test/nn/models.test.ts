import { test } from 'tap'
import {
  Generator,
  manualSeed,
  randint,
  randn,
  ShapeError,
  scope,
  setThreads,
  Tensor,
  threads,
} from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'

const gptOptions = { vocabulary: 11, context: 8, layers: 2, heads: 2, width: 16 }

test('GPT: shapes, causality, initial values', async (t) => {
  const net = new nn.GPT({ ...gptOptions, generator: new Generator(1) })
  const tokens = randint(0, 11, [2, 8], { generator: new Generator(2) })
  const y = net.call(tokens)
  t.same(y.shape, [2, 8, 11])
  const changed = tokens.clone()
  changed.array[7] = ((tokens.array[7] as number) + 1) % 11
  const z = net.call(changed)
  t.same(z.select(0, 0).slice(0, 0, 7).toArray(), y.select(0, 0).slice(0, 0, 7).toArray())
  t.notSame(z.select(0, 0).select(0, 7).toArray(), y.select(0, 0).select(0, 7).toArray())
  const goals = randint(0, 11, [16], { generator: new Generator(9) })
  const loss = nn.crossEntropy(y.reshape(-1, 11), goals).item()
  t.ok(Math.abs(loss - Math.log(11)) < 0.1, 'starts at the loss of a guess')
  t.throws(() => net.call(randint(0, 11, [1, 9])), ShapeError)
})

test('GPT: learns a repeating text and continues it; the same bits for any number of threads', async (t) => {
  const run = (count: number) => {
    const before = threads()
    setThreads(count)
    manualSeed(3)
    const net = new nn.GPT({ ...gptOptions, generator: new Generator(1) })
    const optimizer = new AdamW(net.parameters(), { lr: 1e-2, weightDecay: 0 })
    const text = Array.from({ length: 9 }, (_, i) => [3, 1, 4][i % 3] as number)
    const data = Int32Array.from([0, 1, 2].flatMap((s) => text.slice(s).concat(text).slice(0, 9)))
    let loss = 0
    for (let i = 0; i < 60; i++) {
      loss = scope(() => {
        const all = Array.from({ length: 3 }, (_, r) => data.subarray(r * 9, r * 9 + 9))
        const input = Int32Array.from(all.flatMap((row) => [...row.slice(0, 8)]))
        const goal = Int32Array.from(all.flatMap((row) => [...row.slice(1)]))
        const logits = net.call(Tensor.from({ data: input, shape: [3, 8] }))
        const value = nn.crossEntropy(
          logits.reshape(-1, 11),
          Tensor.from({ data: goal, shape: [24] }),
        )
        value.backward()
        optimizer.step()
        optimizer.zeroGrad()
        return value.item()
      })
    }
    setThreads(before)
    return { loss, text: net.eval().generate([3, 1], 4, { temperature: 0 }) }
  }
  const first = run(1)
  t.ok(first.loss < 0.1, `loss ${first.loss}`)
  t.same(first.text, [3, 1, 4, 3, 1, 4])
  t.same(run(2), first)
})

test('GPT: sampling is drawn by the generator', async (t) => {
  const net = new nn.GPT({ ...gptOptions, generator: new Generator(1) })
  const draw = () => net.generate([1], 12, { topK: 5, generator: new Generator(7) })
  t.same(draw(), draw())
  t.ok(new Set(draw()).size > 2)
})

test('VisionTransformer: shapes, pools, patches', async (t) => {
  const options = {
    imageSize: 8,
    patchSize: 4,
    channels: 2,
    classes: 3,
    layers: 2,
    heads: 2,
    width: 12,
    generator: new Generator(1),
  }
  const x = randn([5, 2, 8, 8], { generator: new Generator(4) })
  for (const pool of ['class', 'mean'] as const) {
    const net = new nn.VisionTransformer({ ...options, pool, generator: new Generator(1) })
    t.same(net.call(x).shape, [5, 3])
    t.same(net.features(x).shape, [5, 12])
    net.call(x).square().sum().backward()
    t.ok(net.parameters().every((p) => p.grad !== null))
    t.throws(() => net.call(randn([1, 2, 8, 9])), ShapeError)
  }
  t.throws(() => new nn.VisionTransformer({ ...options, patchSize: 3 }))
})
