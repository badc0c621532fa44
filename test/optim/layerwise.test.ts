import { test } from 'tap'
import { ArgumentError, ShapeError } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import {
  AdamW,
  layerwiseWeightDecay,
  topSingularValue,
  topSingularValues,
} from '../../lib/optim/index.js'
import { Generator } from '../../lib/random/index.js'
import { wave } from '../fixtures.js'

const net = (width: number) =>
  new nn.Sequential(
    new nn.Linear(5, width, { activation: 'relu', generator: new Generator(1) }),
    new nn.Linear(width, width, { activation: 'relu', generator: new Generator(2) }),
    new nn.Linear(width, 3, { generator: new Generator(3) }),
  )

test('matrix-like parameters: η ∝ 1/d, λ ∝ √d; the others keep η and have no decay', async (t) => {
  const options = { width: 64, baseWidth: 16, lr: 0.01, weightDecay: 0.2 }
  const wide = net(64)
  const groups = layerwiseWeightDecay(wide, { ...options, base: net(16) })
  t.same(
    groups.map(({ params, lr, weightDecay }) => [params.length, lr, weightDecay]),
    [
      [1, 0.0025, 0.4],
      [5, 0.01, 0],
    ],
  )
  t.same(groups[0]?.params[0]?.shape, [64, 64])
  t.same(
    new AdamW(groups).paramGroups.map((group) => group.weightDecay),
    [0.4, 0],
  )
  const plain = layerwiseWeightDecay(wide, { ...options, base: net(16), scaleWeightDecay: false })
  t.equal(plain[0]?.weightDecay, 0.2)
  const gpt = new nn.GPT({ vocabulary: 7, context: 4, layers: 2, heads: 2, width: 8 })
  t.equal(
    layerwiseWeightDecay(gpt, options)[0]?.params.length,
    8,
    'without a base: hidden matrices',
  )
  const named = layerwiseWeightDecay(wide, {
    ...options,
    isMatrix: (name) => name === '0.weight' || undefined,
  })
  t.equal(named[0]?.params.length, 2)
})

test('the largest singular value is that of the whole spectrum', async (t) => {
  // A = Q₁·diag(5, 2, 1)·Q₂ of reflections.
  const reflection = (n: number, seed: number) => {
    const v = wave(n, seed)
    const squares = v.reduce((sum, x) => sum + x * x, 0)
    return (i: number, j: number) =>
      (i === j ? 1 : 0) - (2 * (v[i] as number) * (v[j] as number)) / squares
  }
  const [q1, q2] = [reflection(6, 1), reflection(3, 2)]
  const sigma = [5, 2, 1]
  const data = Float32Array.from({ length: 18 }, (_, k) => {
    const [i, j] = [Math.floor(k / 3), k % 3]
    return sigma.reduce((sum, s, r) => sum + q1(i, r) * s * q2(r, j), 0)
  })
  t.ok(Math.abs(topSingularValue({ data, shape: [6, 3] }) - 5) < 1e-4)
  t.ok(Math.abs(topSingularValue({ data, shape: [6, 3, 1] }) - 5) < 1e-4)
  t.equal(topSingularValue({ data: new Float32Array(6), shape: [2, 3] }), 0)
  t.same(Object.keys(topSingularValues(net(8))), ['0.weight', '1.weight'])
})

test('wrong input', async (t) => {
  const options = { width: 64, baseWidth: 16, lr: 0.01, weightDecay: 0.2 }
  t.throws(() => layerwiseWeightDecay(net(8), { ...options, width: 0 }), ArgumentError)
  t.throws(() => layerwiseWeightDecay(net(8), { ...options, lr: -1 }), ArgumentError)
  t.throws(() => layerwiseWeightDecay(net(8), { ...options, base: {} }), ArgumentError)
  t.throws(() => layerwiseWeightDecay(net(8), null as never), ArgumentError)
  t.throws(() => topSingularValue({ data: new Float32Array(3), shape: [3] }), ShapeError)
})
