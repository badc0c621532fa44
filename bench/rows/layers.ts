/**
 * Layers alone, forward and backward: norms, softmax, cross-entropy, attention, embedding, the selective
 * scan, GELU, pooling, and convolutions of other kinds than networks.ts has. Floor: products' FLOPs where
 * there are such, else each operand and result moved once forward and once backward.
 */

import { randint, randn, scope, type Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import type { Limit, Row, RowMaker } from './row.js'

const leaf = (shape: number[], scale = 1): Tensor => randn(shape).mul(scale).requireGrad()

/** Sends `g` (or 1) back through what `forward` makes; gradients are dropped. */
function pass(
  name: string,
  limit: Limit,
  work: number,
  leaves: readonly Tensor[],
  forward: () => Tensor,
  g?: Tensor,
): Row {
  const run = () =>
    scope(() => {
      forward().backward(g)
      for (const x of leaves) x.grad = null
    })
  return { name, work, limit, run }
}

/** x and y forward; x, dy and dx backward: five times its size. */
const moved = (size: number, times = 5) => 4 * size * times

function norm(kind: 'layer' | 'rms', rows: number, width: number): Row {
  const [x, weight, bias] = [leaf([rows, width]), leaf([width]), leaf([width])]
  const forward =
    kind === 'layer' ? () => nn.layerNorm(x, weight, bias) : () => nn.rmsNorm(x, weight)
  const name = `${kind} norm ${rows}x${width}`
  return pass(name, 'copy', moved(rows * width), [x, weight, bias], forward, randn([rows, width]))
}

function softmax(rows: number, width: number): Row {
  const x = leaf([rows, width])
  const g = randn([rows, width])
  return pass(`softmax ${rows}x${width}`, 'copy', moved(rows * width), [x], () => x.softmax(-1), g)
}

function crossEntropy(rows: number, classes: number): Row {
  const x = leaf([rows, classes])
  const t = randint(0, classes, [rows])
  const name = `cross-entropy ${rows}x${classes}`
  return pass(name, 'copy', moved(rows * classes, 3), [x], () => nn.crossEntropy(x, t))
}

function gelu(size: number): Row {
  const x = leaf([size])
  return pass(`gelu ${size}`, 'copy', moved(size), [x], () => x.gelu(), randn([size]))
}

function attention(
  batch: number,
  heads: number,
  time: number,
  width: number,
  causal: boolean,
): Row {
  const shape = [batch, heads, time, width]
  const [q, k, v] = [leaf(shape), leaf(shape), leaf(shape)]
  const work = 14 * batch * heads * time * time * width * (causal ? 0.5 : 1)
  const name = `attention ${shape.join('x')}${causal ? ' causal' : ''}`
  const forward = () => nn.scaledDotProductAttention(q, k, v, { causal })
  return pass(name, 'f32', work, [q, k, v], forward, randn(shape))
}

/** Rows read and written, their gradient read, and the whole table's gradient written. */
function embedding(words: number, width: number, count: number): Row {
  const table = leaf([words, width])
  const index = randint(0, words, [count])
  const name = `embedding ${words}x${width} ${count}`
  const work = 4 * width * (3 * count + words)
  return pass(name, 'copy', work, [table], () => nn.embedding(index, table), randn([count, width]))
}

/** Per state and step an exponential and about 10 FLOPs forward, 20 backward. */
function scan(batch: number, time: number, channels: number, states: number): Row {
  const u = leaf([batch, time, channels])
  const steps = randn([batch, time, channels]).mul(0.1).square().requireGrad()
  const a = randn([channels, states]).square().neg().requireGrad()
  const [b, c] = [leaf([batch, time, states]), leaf([batch, time, states])]
  const name = `scan ${batch}x${time}x${channels} ${states}`
  const work = 30 * batch * time * channels * states
  const forward = () => nn.selectiveScan(u, steps, a, b, c)
  return pass(name, 'f32', work, [u, steps, a, b, c], forward, randn([batch, time, channels]))
}

function maxPool(n: number, channels: number, size: number): Row {
  const x = leaf([n, channels, size, size])
  const g = randn([n, channels, size / 2, size / 2])
  const name = `max pool ${n}x${channels}x${size}x${size}`
  return pass(name, 'copy', 4 * x.size * 3, [x], () => nn.maxPool2d(x, 2), g)
}

interface Convolution {
  kernel: number
  channels: [number, number]
  size: number
  batch: number
  stride?: number
  groups?: number
}

function convolution({ kernel, channels, size, batch, stride = 1, groups = 1 }: Convolution): Row {
  const [inputs, outputs] = channels
  const padding = (kernel - 1) / 2
  const out = size / stride
  const layer = new nn.Conv2d(inputs, outputs, kernel, { padding, stride, groups })
  const x = leaf([batch, inputs, size, size])
  const name = `conv ${kernel}x${kernel}/${stride} ${inputs}-${outputs} groups ${groups} ${size}x${size} ${batch}`
  const work = (6 * batch * out * out * outputs * inputs * kernel * kernel) / groups
  const leaves = [x, ...layer.parameters()]
  return pass(name, 'f32', work, leaves, () => layer.call(x), randn([batch, outputs, out, out]))
}

const convolutions: Convolution[] = [
  { kernel: 1, channels: [256, 64], size: 28, batch: 8 },
  { kernel: 3, channels: [64, 128], size: 56, batch: 8, stride: 2 },
  { kernel: 3, channels: [128, 128], size: 56, batch: 8, groups: 128 },
]

const makers = [
  () => norm('layer', 4096, 768),
  () => norm('rms', 4096, 768),
  () => softmax(4096, 1024),
  () => crossEntropy(1024, 8192),
  () => gelu(4_000_000),
  () => attention(8, 8, 256, 64, false),
  () => attention(8, 8, 256, 64, true),
  () => attention(32, 3, 49, 64, false),
  () => embedding(8192, 512, 4096),
  () => scan(4, 256, 256, 16),
  () => maxPool(64, 64, 28),
  ...convolutions.map((options) => () => convolution(options)),
]

const names = [
  'layer norm 4096x768',
  'rms norm 4096x768',
  'softmax 4096x1024',
  'cross-entropy 1024x8192',
  'gelu 4000000',
  'attention 8x8x256x64',
  'attention 8x8x256x64 causal',
  'attention 32x3x49x64',
  'embedding 8192x512 4096',
  'scan 4x256x256 16',
  'max pool 64x64x28x28',
  'conv 1x1/1 256-64 groups 1 28x28 8',
  'conv 3x3/2 64-128 groups 1 56x56 8',
  'conv 3x3/1 128-128 groups 128 56x56 8',
]

export const rows: RowMaker[] = makers.map((make, i) => [names[i] as string, make])
