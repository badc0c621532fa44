/** Training steps of a conv net, a GPT and a ViT, and a convolution alone. Floor: the products' FLOPs. */

import { randint, randn, scope, type Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'
import type { Row, RowMaker } from './row.js'

/** Forward, backward and AdamW. */
function step(name: string, work: number, net: nn.Module, loss: () => Tensor): Row {
  const optimizer = new AdamW(net.parameters(), { lr: 1e-3 })
  return {
    name,
    work,
    limit: 'f32',
    run: () =>
      scope(() => {
        loss().backward()
        optimizer.step()
        optimizer.zeroGrad()
      }),
  }
}

function convNet(batch: number): Row {
  const net = new nn.Sequential(
    new nn.Conv2d(1, 32, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.Conv2d(32, 64, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(64 * 14 * 14, 128, { activation: 'relu' }),
    new nn.Linear(128, 10),
  )
  const x = randn([batch, 1, 28, 28])
  const t = randint(0, 10, [batch])
  const products = 4 * 784 * 32 * 9 + 6 * 784 * 64 * 288 + 6 * 12544 * 128 + 6 * 1280
  return step(`train convnet 28x28 ${batch}`, batch * products, net, () =>
    nn.crossEntropy(net.call(x), t),
  )
}

/** FLOPs of a transformer's blocks forward and backward, by token. */
export const blocks = (layers: number, width: number, seen: number) =>
  layers * (6 * 12 * width * width + 12 * width * seen)

function gpt(layers: number, width: number, context: number, batch: number): Row {
  const vocabulary = 256
  const net = new nn.GPT({ vocabulary, context, layers, heads: 4, width })
  const x = randint(0, vocabulary, [batch, context])
  const t = randint(0, vocabulary, [batch * context])
  const token = blocks(layers, width, context / 2) + 6 * width * vocabulary
  return step(
    `train gpt ${layers}x${width} ${context} ${batch}`,
    batch * context * token,
    net,
    () => nn.crossEntropy(net.call(x).reshape(-1, vocabulary), t),
  )
}

function vit(layers: number, width: number, batch: number): Row {
  const net = new nn.VisionTransformer({
    imageSize: 28,
    patchSize: 4,
    channels: 1,
    classes: 10,
    layers,
    heads: 3,
    width,
    pool: 'mean',
  })
  const x = randn([batch, 1, 28, 28])
  const t = randint(0, 10, [batch])
  return step(
    `train vit ${layers}x${width} 49 ${batch}`,
    batch * 49 * blocks(layers, width, 49),
    net,
    () => nn.crossEntropy(net.call(x), t),
  )
}

function convolution(channels: number, size: number, batch: number): Row {
  const layer = new nn.Conv2d(channels, channels, 3, { padding: 1 })
  const x = randn([batch, channels, size, size], { requiresGrad: true })
  const g = randn([batch, channels, size, size])
  return {
    name: `conv 3x3 ${channels}-${channels} ${size}x${size} ${batch}`,
    work: 6 * batch * size * size * channels * channels * 9,
    limit: 'f32',
    run: () =>
      scope(() => {
        layer.call(x).backward(g)
        layer.zeroGrad()
        x.grad = null
      }),
  }
}

export const rows: RowMaker[] = [
  ['train convnet 28x28 64', () => convNet(64)],
  ['train gpt 4x256 128 8', () => gpt(4, 256, 128, 8)],
  ['train vit 6x192 49 32', () => vit(6, 192, 32)],
  ['conv 3x3 64-64 56x56 8', () => convolution(64, 56, 8)],
]
