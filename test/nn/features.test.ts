import { test } from 'tap'
import {
  ArgumentError,
  Generator,
  noGrad,
  randn,
  ShapeError,
  scope,
  type Tensor as T,
  Tensor,
  tensor,
  zeros,
} from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW } from '../../lib/optim/index.js'
import { relativeError, waves } from '../fixtures.js'

test('lif: spikes, resets, state carried on, surrogate gradient', async (t) => {
  const x = tensor([[0.6], [0.9], [0.2], [2.0]], { dtype: 'float64' })
  const soft = nn.lif(x)
  t.same(soft.spikes.toArray(), [[0], [1], [0], [1]])
  t.ok(Math.abs(soft.state.item() - 1.15) < 1e-12)
  const hard = nn.lif(x, { reset: 'hard' })
  t.equal(hard.state.item(), 0)
  // Two halves are the whole.
  const layer = new nn.LIF({ stateful: true })
  const parts = [layer.call(x.slice(0, 0, 2)), layer.call(x.slice(0, 2))]
  t.same(
    parts.flatMap((p) => p.toArray()),
    soft.spikes.toArray(),
  )
  layer.resetState()
  t.same(layer.call(x.slice(0, 0, 2)).toArray(), parts[0]?.toArray())
  // A smooth stand-in: where the slope of the spike is the sigmoid's, by hand for two steps.
  const leaf = tensor([[0.7], [0.8]], { dtype: 'float64' }).requireGrad()
  const { spikes } = nn.lif(leaf, { surrogate: 'sigmoid', alpha: 3, detachReset: true })
  spikes.sum().backward()
  const slope = (u: number) => {
    const s = 1 / (1 + Math.exp(-3 * (u - 1)))
    return 3 * s * (1 - s)
  }
  const second = slope(0.8 + 0.35)
  const expected = [slope(0.7) + 0.5 * second, second]
  t.ok(relativeError(leaf.grad?.data as Float64Array, expected) < 1e-12)
  t.throws(() => nn.lif(x, { surrogate: 'step' as 'atan' }), ArgumentError)
  t.throws(() => nn.lif(x, { state: zeros([2], { dtype: 'float64' }) }), ShapeError)
})

test('Mamba: causal, trains; the block keeps its input', async (t) => {
  const generator = new Generator(1)
  const net = new nn.MambaBlock(8, { states: 4, generator })
  const x = randn([2, 9, 8], { generator })
  const y = net.call(x)
  t.same(y.shape, x.shape)
  const changed = x.clone()
  changed.array[8 * 8] = 5 // batch 0, the last time
  const z = net.call(changed)
  t.same(z.select(0, 0).slice(0, 0, 8).toArray(), y.select(0, 0).slice(0, 0, 8).toArray())
  t.notSame(z.toArray(), y.toArray())
  // Learns to give back what came two steps earlier.
  const goal = new Tensor(x.storage, 'float32', [2, 7, 8], [72, 8, 1])
  const optimizer = new AdamW(net.parameters(), { lr: 1e-2 })
  const losses = Array.from({ length: 60 }, () =>
    scope(() => {
      const loss = nn.mseLoss(net.call(x).slice(1, 2), goal)
      loss.backward()
      optimizer.step()
      optimizer.zeroGrad()
      return loss.item()
    }),
  )
  t.ok((losses.at(-1) as number) < 0.5 * (losses[0] as number), `${losses[0]} → ${losses.at(-1)}`)
  t.throws(() => net.call(randn([2, 9, 7])), ShapeError)
})

test('SIREN: the activation and the layer with its initial values', async (t) => {
  const x = waves([3, 2], 1)
  t.same(new nn.Sine(2).call(x).toArray(), x.mul(2).sin().toArray())
  const first = new nn.SineLinear(4, 500, { first: true, generator: new Generator(1) })
  const later = new nn.SineLinear(4, 500, { generator: new Generator(1) })
  const most = (w: T) => w.abs().max().item()
  t.ok(most(first.weight) <= 0.25 && most(first.weight) > 0.24)
  const bound = Math.sqrt(6 / 4) / 30
  t.ok(most(later.weight) <= bound && most(later.weight) > 0.96 * bound)
  const y = first.call(randn([2, 4]))
  t.ok(most(y) <= 1)
})

test('init: variances, ranges, orthogonality', async (t) => {
  const g = () => new Generator(5)
  const x = () => zeros([200, 300])
  const near = (a: number, b: number, name: string) =>
    t.ok(Math.abs(a / b - 1) < 0.02, `${name}: ${a} ${b}`)
  near(
    nn.init.kaimingNormal(x(), 0, g(), { mode: 'fanOut', nonlinearity: 'relu' }).std().item(),
    Math.sqrt(2 / 200),
    'kaiming',
  )
  near(
    nn.init.kaimingUniform(x(), 0, g(), { nonlinearity: 'tanh' }).std().item(),
    5 / 3 / Math.sqrt(300),
    'tanh',
  )
  near(nn.init.xavierUniform(x(), 2, g()).std().item(), 2 * Math.sqrt(2 / 500), 'xavier')
  const cut = nn.init.truncNormal(x(), 0.5, 1, 0, 2, g())
  t.ok(cut.min().item() >= 0 && cut.max().item() <= 2)
  for (const shape of [
    [5, 12],
    [12, 5],
    [7, 7],
    [6, 2, 2, 2],
  ]) {
    const q = nn.init
      .orthogonal(zeros(shape, { dtype: 'float64' }), 2, g())
      .reshape(shape[0] as number, -1)
    const gram = (q.shape[0] as number) <= (q.shape[1] as number) ? q.matmul(q.T) : q.T.matmul(q)
    const n = gram.shape[0] as number
    const eye = nn.init.identity(zeros([n, n], { dtype: 'float64' }))
    t.ok(gram.sub(eye.mul(4)).abs().max().item() < 1e-12)
  }
  t.same(nn.init.constant(zeros([2]), 3).toArray(), [3, 3])
  t.throws(() => nn.init.truncNormal(zeros([2]), 0, 1, 2, 1), ArgumentError)
  t.throws(() => nn.init.orthogonal(zeros([2])), ShapeError)
})

test('modules: hooks before, after and backward; paths; freezing; casts', async (t) => {
  const net = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1))
  const [first, , last] = net.layers as [nn.Linear, nn.Module, nn.Linear]
  const x = tensor([[1, 2]])
  const plain = net.call(x).item()
  const remove = [
    first.registerForwardPreHook((_m, input) => input.mul(0)),
    last.registerForwardHook((_m, _x, y) => y.add(1)),
    last.registerFullBackwardPreHook((_m, gradient) => gradient.mul(2)),
  ]
  const hooked = net.call(x)
  const bias = first.bias as T
  const expected = last.call(bias.relu().reshape(1, 3)).item()
  t.ok(Math.abs(hooked.item() - expected) < 1e-6)
  hooked.backward()
  t.same(last.bias?.grad?.toArray(), [2])
  for (const off of remove) off()
  t.equal(net.call(x).item(), plain)
  t.equal(net.getModule('2'), last)
  t.throws(() => net.getModule('7'), ArgumentError)
  t.same(net.children(), [...net.layers])
  const seen: nn.Module[] = []
  net.apply((module) => void seen.push(module))
  t.equal(seen.at(-1), net)
  net.requireGrad(false)
  t.ok(net.parameters().length === 4 && net.parameters().every((p) => !p.requiresGrad))
  net.to('float64')
  t.equal(noGrad(() => net.call(x.to('float64'))).dtype, 'float64')
  t.same(
    net.parameters().map((p) => p.requiresGrad),
    [false, false, false, false],
  )
})
