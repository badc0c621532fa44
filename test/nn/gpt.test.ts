import { test } from 'tap'
import { CharTokenizer, TokenWindows } from '../../lib/data/index.js'
import { noGrad, scope, Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'
import { fixture, wave } from '../fixtures.js'

interface Curve {
  text: string
  losses: number[]
  layers: number
  heads: number
  width: number
  context: number
  batch: number
  lr: number
}

test('a GPT follows the loss curve of PyTorch for 200 steps', async (t) => {
  const curve = fixture('gpt') as unknown as Curve
  const { context, batch, lr, losses } = curve
  const tokenizer = new CharTokenizer(curve.text)
  const windows = new TokenWindows(tokenizer.encode(curve.text), context, 1)
  const model = new nn.GPT({ ...curve, vocabulary: tokenizer.vocabulary })
  noGrad(() => {
    for (const [i, [name, x]] of model.namedParameters().entries()) {
      if (/bias$/i.test(name)) x.zero_()
      else if (name.includes('norm')) x.fill_(1)
      else
        x.copy_(Tensor.from({ data: wave(x.size, 100 + i).map((v) => v * 0.05), shape: x.shape }))
    }
  })
  const optimizer = new AdamW(model.parameters(), { lr })
  let worst = 0
  losses.forEach((expected, step) => {
    const starts = Int32Array.from(
      { length: batch },
      (_, k) => ((step * batch + k) * 29) % (windows.length - 1),
    )
    const loss = scope(() => {
      const { inputs, targets } = windows.batch(starts)
      const logits = model.forward(inputs).reshape(-1, tokenizer.vocabulary)
      const value = nn.crossEntropy(logits, targets.reshape(-1))
      value.backward()
      return value.item()
    })
    optimizer.step()
    optimizer.zeroGrad()
    worst = Math.max(worst, Math.abs(loss - expected))
  })
  t.ok(worst < 1e-3, `largest difference ${worst}`)
  t.ok((losses.at(-1) as number) < 0.75 * (losses[0] as number), 'it learned something')
})
