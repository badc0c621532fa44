import { type Test, test } from 'tap'
import { samplesTogether, summed } from '../../lib/autograd/per-sample.js'
import * as p from '../../lib/index.js'
import { perSampleGrads, perSampleSquares, ShapeError, type Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { relativeError, waves } from '../fixtures.js'
import { ints } from './values.js'

const g = (seed = 1) => new p.Generator(seed)

/** Compares with one backward() a sample. */
function check(
  t: Test,
  model: nn.Module,
  losses: (begin: number, end: number) => Tensor,
  samples: number,
) {
  model.to('float64')
  const all = perSampleGrads(model, losses(0, samples))
  const squares = perSampleSquares(model, losses(0, samples))
  const expected: Record<string, number[]> = {}
  for (let s = 0; s < samples; s++) {
    model.zeroGrad()
    losses(s, s + 1)
      .sum()
      .backward()
    for (const [name, x] of model.namedParameters()) {
      const list = (expected[name] ??= [])
      const grad = x.grad ? x.grad.reshape(-1).toArray() : Array(x.size).fill(0)
      for (const value of grad as number[]) list.push(value)
    }
  }
  t.same(Object.keys(all).sort(), Object.keys(expected).sort())
  const magnitudes = summed('abs', model.parameters(), samples, samples, losses)
  const first = perSampleGrads(model, losses(0, 1))
  const firstSquares = perSampleSquares(model, losses(0, 1))
  for (const [k, [name, x]] of model.namedParameters().entries()) {
    const grads = all[name] as Tensor
    const alone = grads.slice(0, 0, 1)
    t.ok((first[name] as Tensor).allClose(alone), `${name}: one sample`)
    t.ok((firstSquares[name] as Tensor).allClose(alone.square().sum(0)))
    t.same(grads.shape, [samples, ...x.shape], name)
    const truth = expected[name] as number[]
    const error = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from(b).every((v) => v === 0)
        ? Math.max(...Array.from(a, Math.abs))
        : relativeError(a, b)
    t.ok(error(grads.clone().data, truth) < 1e-10, `${name}: ${error(grads.clone().data, truth)}`)
    const summedOf = (of: (v: number) => number) =>
      Float64Array.from({ length: x.size }, (_, i) => {
        let sum = 0
        for (let at = i; at < truth.length; at += x.size) sum += of(truth[at] as number)
        return sum
      })
    const squared = error(
      (squares[name] as Tensor).clone().data,
      summedOf((v) => v * v),
    )
    t.ok(squared < 1e-10, `squares of ${name}: ${squared}`)
    const absolute = error((magnitudes[k] as Tensor).clone().data, summedOf(Math.abs))
    t.ok(absolute < 1e-10, `magnitudes of ${name}: ${absolute}`)
  }
}

const targets = (n: number, classes: number) =>
  ints(Array.from({ length: n }, (_, i) => (i * 5 + 1) % classes))

test('per-sample gradients of an MLP with norms', async (t) => {
  const model = new nn.Sequential(
    new nn.Linear(6, 8, { generator: g(), activation: 'relu' }),
    new nn.LayerNorm(8),
    new nn.Linear(8, 7, { generator: g(2), bias: false }),
    new nn.RMSNorm(7),
    new nn.Tanh(),
    new nn.Linear(7, 3, { generator: g(3) }),
  )
  const [x, y] = [waves([5, 6], 1), targets(5, 3)]
  const losses = (a: number, b: number) =>
    nn.crossEntropy(model.forward(x.slice(0, a, b)), y.slice(0, a, b), { reduction: 'none' })
  check(t, model, losses, 5)
})

test('per-sample gradients of a conv net: groups, strides, batch norm with running statistics', async (t) => {
  const model = new nn.Sequential(
    new nn.Conv2d(2, 4, 3, { padding: 1, generator: g() }),
    new nn.BatchNorm(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(4, 6, 2, { groups: 2, stride: 2, generator: g(2) }),
    new nn.Flatten(),
    new nn.Linear(24, 3, { generator: g(3) }),
  )
  const [x, y] = [waves([4, 2, 9, 8], 1), targets(4, 3)]
  const losses = (a: number, b: number) =>
    nn.crossEntropy(model.forward(x.slice(0, a, b)), y.slice(0, a, b), { reduction: 'none' })
  model.to('float64')
  t.throws(
    () => perSampleGrads(model, losses(0, 4)),
    { code: 'ARGUMENT' },
    "the batch's statistics mix samples",
  )
  model.eval()
  check(t, model, losses, 4)
})

test('per-sample gradients of a GPT: tied embeddings, repeated tokens, positions, attention', async (t) => {
  const model = new nn.GPT({
    vocabulary: 7,
    context: 5,
    layers: 2,
    heads: 2,
    width: 8,
    generator: g(),
  })
  const tokens = ints([1, 2, 1, 0, 6, 3, 3, 3, 4, 5, 0, 1, 2, 2, 6], [3, 5])
  // Targets must be the sample's own wherever it stands.
  const own = (a: number, b: number) => {
    const logits = model.forward(tokens.slice(0, a, b)).reshape(-1, 7)
    const goal = targets(15, 7).slice(0, 5 * a, 5 * b)
    return nn
      .crossEntropy(logits, goal, { reduction: 'none' })
      .reshape(b - a, 5)
      .mean(1)
  }
  check(t, model, own, 3)
})

test('per-sample gradients of a ViT, and of a plain product with a broadcast scale', async (t) => {
  const vit = new nn.VisionTransformer({
    imageSize: 4,
    patchSize: 2,
    channels: 1,
    classes: 3,
    layers: 1,
    heads: 2,
    width: 4,
    generator: g(),
  })
  const [x, y] = [waves([3, 1, 4, 4], 2), targets(3, 3)]
  check(
    t,
    vit,
    (a, b) =>
      nn.crossEntropy(vit.forward(x.slice(0, a, b)), y.slice(0, a, b), { reduction: 'none' }),
    3,
  )

  class Plain extends nn.Module {
    weight = nn.parameter(waves([4, 3], 5))
    scale = nn.parameter(waves([3], 6))
    unused = nn.parameter(waves([2], 7))
    forward(x: Tensor): Tensor {
      return x.matmul(this.weight.mul(2)).mul(this.scale)
    }
  }
  const plain = new Plain()
  const inputs = waves([3, 4], 8)
  check(
    t,
    plain,
    (a, b) =>
      plain
        .forward(inputs.slice(0, a, b))
        .square()
        .sum(1),
    3,
  )
})

test('embedding: a padding row has no gradient; lists of parameters; what is refused', async (t) => {
  const table = waves([4, 3], 1).requireGrad()
  const tokens = ints([1, 1, 2, 0, 3, 3], [2, 3])
  const loss = () => nn.embedding(tokens, table, { paddingIndex: 1 }).square().sum([1, 2])
  const grads = perSampleGrads([table], loss())['0'] as Tensor
  t.same(grads.shape, [2, 4, 3])
  t.same(grads.select(1, 1).toArray(), [
    [0, 0, 0],
    [0, 0, 0],
  ])
  loss().sum().backward()
  t.ok(grads.sum(0).allClose(table.grad as Tensor))
  t.ok((perSampleSquares([table], loss())['0'] as Tensor).allClose(grads.square().sum(0)))
  t.throws(() => perSampleGrads([table], loss().sum()), ShapeError)
  t.throws(() => perSampleGrads([table], p.ones([3])), p.ArgumentError)
  t.throws(() => perSampleGrads(3 as never, loss()), p.ArgumentError)
  t.throws(() => perSampleGrads([table], table.matmul(waves([3], 2)).slice(0, 0, 2)), {
    code: 'ARGUMENT',
  })
})

test('sums of squares over many samples; one by one where a model does not keep them apart', async (t) => {
  const exact = (model: nn.Module, x: Tensor, y: Tensor, rows: number) => {
    const sums = model.parameters().map((w) => p.zerosLike(w))
    for (let i = 0; i < rows; i++) {
      model.zeroGrad()
      nn.crossEntropy(model.forward(x.slice(0, i, i + 1)), y.slice(0, i, i + 1)).backward()
      model.parameters().forEach((w, k) => {
        sums[k]?.copy_((sums[k] as Tensor).add((w.grad as Tensor).square()))
      })
    }
    return sums
  }
  const same = (model: nn.Module, x: Tensor, expected: number, rows: number) => {
    model.to('float64')
    const y = targets(rows, 3)
    const losses = (a: number, b: number) =>
      nn.crossEntropy(model.forward(x.slice(0, a, b)), y.slice(0, a, b), { reduction: 'none' })
    const parameters = model.parameters()
    const together = samplesTogether(parameters, rows, losses)
    t.equal(together, expected)
    const found = summed('square', parameters, rows, together, losses)
    const truth = exact(model, x, y, rows)
    found.forEach((sum, i) => {
      t.ok(relativeError(sum.clone().data, (truth[i] as Tensor).clone().data) < 1e-10)
    })
  }
  same(new nn.Linear(5, 3, { generator: g() }), waves([300, 5], 1), 128, 300)
  // Time goes in front of the samples: [3, n, 4] as 3n rows.
  class TimeFirst extends nn.Module {
    readonly inner = new nn.Linear(4, 3, { generator: g(2) })
    override forward(x: Tensor): Tensor {
      const rows = this.inner.forward(x.transpose(0, 1).reshape(-1, 4))
      return rows.reshape(3, -1, 3).square().sum(0)
    }
  }
  same(new TimeFirst(), waves([6, 3, 4], 2), 1, 6)
  // Nothing along the first axis: no rule.
  class Across extends nn.Module {
    readonly weight = nn.parameter(waves([4, 3], 5))
    override forward(x: Tensor): Tensor {
      return this.weight.T.matmul(x.T).T
    }
  }
  same(new Across(), waves([5, 4], 3), 1, 5)
})

test('per-sample gradients of Mamba: its convolution, its scan, its decay', async (t) => {
  const model = new nn.Mamba(4, { states: 3, taps: 3, generator: g() })
  const x = waves([3, 40, 4], 1)
  const losses = (a: number, b: number) =>
    model
      .forward(x.slice(0, a, b))
      .square()
      .mean([1, 2])
  check(t, model, losses, 3)
  class Short extends nn.Module {
    weight = nn.parameter(waves([4, 5], 2))
    forward(input: Tensor): Tensor {
      return nn.causalConv1d(input, this.weight)
    }
  }
  const short = new Short()
  const few = waves([3, 2, 4], 3)
  check(
    t,
    short,
    (a, b) =>
      short
        .forward(few.slice(0, a, b))
        .square()
        .sum([1, 2]),
    3,
  )
})

test('per-sample gradients of a transposed convolution, and of where()', async (t) => {
  class Spread extends nn.Module {
    up = new nn.ConvTranspose2d(2, 4, 3, {
      stride: 2,
      padding: 1,
      outputPadding: 1,
      groups: 2,
      generator: g(),
    })
    low = nn.parameter(waves([4, 1, 1], 4))
    high = nn.parameter(waves([1, 4, 6, 6], 5))
    forward(x: Tensor): Tensor {
      const y = this.up.forward(x)
      return p.where(y.gt(0), this.low, p.where(y.gt(-0.2), y, this.high))
    }
  }
  const model = new Spread()
  const x = waves([4, 2, 3, 3], 6)
  check(
    t,
    model,
    (a, b) =>
      model
        .forward(x.slice(0, a, b))
        .square()
        .sum([1, 2, 3]),
    4,
  )
})
