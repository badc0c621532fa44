/**
 * A small GPT learns Moby-Dick and writes on.
 *
 *     node dist/examples/gpt.js [--quick]
 */

import { Generator, noGrad, scope } from 'palimpsest'
import { BytePairTokenizer, DataLoader, mobyDick, TokenWindows } from 'palimpsest/data'
import * as nn from 'palimpsest/nn'
import { cosine, Muon, muonGroups, Scheduler, warmup } from 'palimpsest/optim'
import { endless, quick, withBar } from './progress.js'

const book = mobyDick()
  .map(({ text }) => text)
  .join('\n')
const text = quick ? book.slice(5000, 25000) : book
const tokenizer = BytePairTokenizer.train(text.slice(0, 400_000), quick ? 300 : 512)
const tokens = tokenizer.encode(text)
const context = quick ? 16 : 64
const held = Math.floor(0.95 * tokens.length)

const generator = new Generator(1)
const model = new nn.GPT({
  vocabulary: tokenizer.vocabulary,
  context,
  layers: quick ? 1 : 3,
  heads: 4,
  width: quick ? 16 : 96,
  generator,
})
const steps = quick ? 6 : 1200
const optimizer = new Muon(
  muonGroups(model, { hidden: { lr: 0.02, weightDecay: 0.01 }, rest: { lr: 0.002 } }),
)
const up = Math.ceil(steps / 20)
const schedule = new Scheduler(optimizer, warmup(up, cosine(steps - up)))
const windows = new TokenWindows(tokens.subarray(0, held), context, Math.ceil(context / 2))
const batches = endless(
  new DataLoader(windows, { batchSize: quick ? 4 : 16, shuffle: true, seed: 3 }),
)

/** Mean cross-entropy a token. */
const lossOf = ({ inputs, targets }: ReturnType<TokenWindows['batch']>) =>
  nn.crossEntropy(model.forward(inputs).reshape(-1, tokenizer.vocabulary), targets.reshape(-1))

const begun = performance.now()
withBar(steps, () => {
  const loss = scope(() => {
    const value = lossOf(batches.next().value)
    value.backward()
    optimizer.step()
    optimizer.zeroGrad()
    return value.item()
  })
  schedule.step()
  return loss
})
const seconds = (performance.now() - begun) / 1000

const unseen = new TokenWindows(tokens.subarray(held), context)
const part = Int32Array.from({ length: Math.min(unseen.length, quick ? 4 : 200) }, (_, i) => i)
const loss = noGrad(() => scope(() => lossOf(unseen.batch(part)).item()))
const bytes = Buffer.byteLength(tokenizer.decode(tokens.subarray(held))) / (tokens.length - held)
console.log(
  `loss ${loss.toFixed(3)} a token, ${(loss / Math.LN2 / bytes).toFixed(2)} bits a byte on unseen text after ${steps} steps, ${seconds.toFixed(1)} s`,
)

const prompt = 'The whale '
const written = model.generate([...tokenizer.encode(prompt)], quick ? 10 : 150, {
  temperature: 0.8,
  topK: 40,
  generator,
})
console.log(tokenizer.decode(written))
