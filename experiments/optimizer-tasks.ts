/** What optimizers are compared on: a small GPT on real text, a small ViT on digits. */

import { CharTokenizer, type Dataset, subset, TokenWindows } from '../lib/data/index.js'
import * as nn from '../lib/nn/index.js'
import { Generator } from '../lib/random/index.js'
import { noGrad, scope, Tensor } from '../lib/tensor/index.js'
import type { Task } from './optimizer-race.js'

const size = (net: nn.Module) => net.parameters().reduce((n, p) => n + p.size, 0)

/** Next characters of a text: the last tenth is held out. A small one shows only that it runs. */
export function gptTask(text: string, small = false): Task {
  const tokenizer = new CharTokenizer(text)
  const tokens = tokenizer.encode(text)
  const [context, batch] = small ? [16, 4] : [96, 8]
  const cut = Math.floor(0.9 * tokens.length)
  const train = new TokenWindows(tokens.subarray(0, cut), context, 1)
  const held = new TokenWindows(tokens.subarray(cut), context)
  const model = (generator: Generator) =>
    new nn.GPT({
      vocabulary: tokenizer.vocabulary,
      context,
      layers: small ? 2 : 4,
      heads: 4,
      width: small ? 32 : 192,
      generator,
    })
  const loss = (net: nn.Module, inputs: Tensor, targets: Tensor) => {
    const logits = net.call(inputs)
    return nn.crossEntropy(logits.reshape(-1, tokenizer.vocabulary), targets.reshape(-1))
  }
  const heldBatches = Array.from({ length: 4 }, (_, i) =>
    held.batch(Int32Array.from({ length: 32 }, (_, k) => i * 32 + k)),
  )
  return {
    name: 'GPT',
    steps: 100,
    parameters: size(model(new Generator(1))),
    tokens: context * batch,
    model,
    loss(net, generator, times = 1) {
      const indices = Int32Array.from({ length: batch * times }, () =>
        generator.integer(train.length),
      )
      const { inputs, targets } = train.batch(indices)
      return loss(net, inputs, targets)
    },
    evaluate(net) {
      return noGrad(() => {
        let sum = 0
        for (const { inputs, targets } of heldBatches) {
          sum += scope(() => loss(net, inputs, targets).item()) / heldBatches.length
        }
        return sum
      })
    },
  }
}

/** Digits as 16 patches of 7 × 7. A small one shows only that it runs. */
export function vitTask(train: Dataset, held: Dataset, small = false): Task {
  const batch = 64
  const model = (generator: Generator) =>
    new nn.VisionTransformer({
      imageSize: 28,
      patchSize: 7,
      channels: 1,
      classes: 10,
      layers: small ? 2 : 4,
      heads: 4,
      width: small ? 32 : 96,
      pool: 'mean',
      generator,
    })
  const tensors = (data: Dataset) => {
    const n = data.labels.length
    return {
      inputs: Tensor.from({ data: data.inputs, shape: [n, 1, 28, 28] }),
      targets: Tensor.from({ data: data.labels, shape: [n] }),
    }
  }
  const parts = Array.from({ length: held.labels.length / 250 }, (_, i) =>
    tensors(
      subset(
        held,
        Array.from({ length: 250 }, (_, k) => i * 250 + k),
      ),
    ),
  )
  return {
    name: 'ViT',
    steps: 120,
    parameters: size(model(new Generator(1))),
    tokens: batch * 16,
    model,
    loss(net, generator, times = 1) {
      const indices = Int32Array.from({ length: batch * times }, () =>
        generator.integer(train.labels.length),
      )
      const { inputs, targets } = tensors(subset(train, indices))
      return nn.crossEntropy(net.call(inputs), targets)
    },
    evaluate(net) {
      return noGrad(() => {
        let sum = 0
        for (const { inputs, targets } of parts) {
          sum += scope(() => nn.crossEntropy(net.call(inputs), targets).item()) / parts.length
        }
        return sum
      })
    },
  }
}
