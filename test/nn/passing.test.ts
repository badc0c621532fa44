import * as fc from 'fast-check'
import { test } from 'tap'
import * as p from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'
import { allocations } from '../../lib/tensor/storage.js'

/** A user's module: it keeps what it saw. */
class Keeper extends nn.Module {
  readonly seen: [p.Tensor, number[]][] = []
  constructor(readonly inner: nn.Module) {
    super()
  }
  forward(x: p.Tensor): p.Tensor {
    const y = this.inner.call(x)
    for (const t of [x, y]) this.seen.push([t, flat(t)])
    return y
  }
}

const flat = (x: p.Tensor) => Array.from(x.clone().data as Float32Array)

const width = 6
const makers: ((generator: p.Generator) => nn.Module)[] = [
  (generator) => new nn.Linear(width, width, { generator }),
  (generator) => new nn.Linear(width, width, { generator, activation: 'tanh' }),
  () => new nn.ReLU(),
  () => new nn.GELU(),
  () => new nn.Tanh(),
  () => new nn.LayerNorm(width),
  () => new nn.Dropout(0.3, { generator: new p.Generator(9) }),
  () => new nn.Sequential(),
  (generator) => new nn.Sequential(new nn.Linear(width, width, { generator }), new nn.ReLU()),
  (generator) => new nn.TransformerBlock(width, 2, { generator }),
  (generator) => new nn.TransformerBlock(width, 3, { generator, preNorm: false, norm: 'rms' }),
]

/** Where somebody looks: not at all, through a module of the user's, through hooks, or at a layer inside. */
type Look = 'none' | 'keeper' | 'hook' | 'inside'

function build(kinds: number[], looks: Look[]) {
  const generator = new p.Generator(5)
  const seen: [p.Tensor, number[]][] = []
  const note = (...tensors: p.Tensor[]): undefined => {
    for (const t of tensors) seen.push([t, flat(t)])
  }
  const layers = kinds.map((kind, i) => {
    const layer = (makers[kind] as (typeof makers)[number])(generator)
    if (looks[i] === 'keeper') {
      const keeper = new Keeper(layer)
      return keeper
    }
    const target =
      looks[i] === 'inside'
        ? (layer.modules().at(-1) as nn.Module)
        : looks[i] === 'hook'
          ? layer
          : null
    target?.registerForwardHook((_module, x, y) => note(x, y))
    return layer
  })
  const kept = () => [
    ...seen,
    ...layers.flatMap((layer) => (layer instanceof Keeper ? layer.seen : [])),
  ]
  return { net: new nn.Sequential(...layers), kept }
}

/** Output, input's gradient and parameters' gradients after a step, and whether all that was seen is there. */
function step(kinds: number[], looks: Look[], times: number) {
  const { net, kept } = build(kinds, looks)
  const x = p.randn([2, 3, width], { generator: new p.Generator(3), requiresGrad: true })
  return p.scope(() => {
    const y = net.call(x)
    const loss = y.square().sum()
    for (let i = 1; i < times; i++) loss.backward(undefined, { retainGraph: true })
    loss.backward()
    // New tensors would be written over memory that went back too early.
    for (let i = 0; i < 20; i++) p.ones([2, 3, width]).mul(7)
    const intact = kept().every(([t, values]) => String(flat(t)) === String(values))
    return {
      y: flat(y),
      slopes: [x, ...net.parameters()].map((t) => (t.grad ? flat(t.grad) : null)),
      intact,
    }
  })
}

test('what hooks and modules of users saw stays, and gradients are the same bits whoever looks', async (t) => {
  const layer = fc.tuple(
    fc.integer({ min: 0, max: makers.length - 1 }),
    fc.constantFrom<Look>('none', 'none', 'keeper', 'hook', 'inside'),
  )
  fc.assert(
    fc.property(
      fc.array(layer, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 2 }),
      (list, times) => {
        const kinds = list.map(([kind]) => kind)
        const looked = step(
          kinds,
          list.map(([, look]) => look),
          times,
        )
        const all = step(
          kinds,
          list.map(() => 'keeper' as const),
          times,
        )
        const none = step(
          kinds,
          list.map(() => 'none' as const),
          times,
        )
        t.ok(looked.intact && all.intact)
        t.strictSame(looked.y, none.y)
        t.strictSame(all.y, none.y)
        t.strictSame(looked.slopes, none.slopes)
        t.strictSame(all.slopes, none.slopes)
      },
    ),
    { numRuns: 40 },
  )
})

test('a layer that hands its input on leaves the caller his tensor', async (t) => {
  const x = p.randn([2, width], { requiresGrad: true })
  const block = new nn.TransformerBlock(width, 2)
  Object.assign(block, { norm1: new nn.Sequential(), norm2: new nn.Dropout(0) })
  const y = x.reshape(1, 2, width).mul(1)
  const before = flat(y)
  p.scope(() => block.call(y).sum().backward())
  t.strictSame(flat(y), before)
  p.noGrad(() => p.scope(() => block.call(y)))
  t.strictSame(flat(y), before)
  const same = new nn.Sequential(new nn.Sequential(), new nn.Dropout(0), new nn.Linear(width, 2))
  p.noGrad(() => same.call(y))
  t.strictSame(flat(y), before)
})

test('gradients of gradients go through a network', async (t) => {
  const generator = new p.Generator(1)
  const net = new nn.Sequential(
    new nn.Linear(3, 8, { generator }),
    new nn.Tanh(),
    new nn.Linear(8, 8, { generator }),
    new nn.GELU(),
    new nn.Linear(8, 1, { generator }),
  )
  for (const m of net.parameters()) m.become(m.to('float64'))
  const x = p.randn([4, 3], { generator }).to('float64')
  const f = (v: p.Tensor) => net.call(v).square().sum()
  t.doesNotThrow(() => p.gradcheck(f, [x]))
  const start = p.tensor([[0.1, 0.2, 0.3]], { dtype: 'float64' })
  const h = p.hessian(f, start).reshape(3, 3)
  const slope = (v: p.Tensor) => p.grad(f(v), [v])[0] as p.Tensor
  for (let j = 0; j < 3; j++) {
    const moved = (by: number) => {
      const v = start.clone()
      ;(v.data as Float64Array)[j] = (v.data[j] as number) + by
      return slope(v.requireGrad())
    }
    const column = moved(1e-5).sub(moved(-1e-5)).div(2e-5).reshape(3)
    t.ok(p.allClose(h.select(1, j), column, { rtol: 1e-5, atol: 1e-7 }))
  }
})

test('intermediate results give their memory back in the pass, and at once where nothing is recorded', async (t) => {
  const layers = Array.from({ length: 24 }, () => [new nn.Linear(256, 256), new nn.Tanh()]).flat()
  const net = new nn.Sequential(...layers)
  const x = p.randn([512, 256])
  p.clearRecycled()
  let before = allocations()
  p.noGrad(() => p.scope(() => net.call(x)))
  t.ok(allocations() - before <= 3, `${allocations() - before} allocations without a tape`)
  p.clearRecycled()
  p.scope(() => {
    const loss = net.call(x).sum()
    before = allocations()
    loss.backward()
    // Gradients of the parameters find the memory of activations: the first few need their own.
    t.ok(allocations() - before <= 34, `${allocations() - before} allocations`)
  })
})

test('steps of a conv net and a transformer allocate nothing after the first ones', async (t) => {
  const conv = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(8 * 14 * 14, 32),
    new nn.ReLU(),
    new nn.Linear(32, 10),
  )
  const vit = new nn.VisionTransformer({
    imageSize: 28,
    patchSize: 4,
    channels: 1,
    classes: 10,
    layers: 2,
    heads: 2,
    width: 64,
    dropout: 0.1,
  })
  const x = p.randn([32, 1, 28, 28])
  const labels = p.randint(0, 10, [32])
  for (const net of [conv, vit]) {
    const optimizer = new AdamW(net.parameters(), { lr: 1e-3 })
    const run = () =>
      p.scope(() => {
        nn.crossEntropy(net.call(x), labels).backward()
        optimizer.step()
        optimizer.zeroGrad()
      })
    for (let i = 0; i < 3; i++) run()
    const before = allocations()
    for (let i = 0; i < 5; i++) run()
    t.equal(allocations(), before, net.constructor.name)
  }
})
