/** What is measured. A row's name tells the peers what to do. */

import { randint, randn, scope, type Tensor } from '../lib/index.js'
import { matmul, orthogonalize } from '../lib/linalg/index.js'
import * as nn from '../lib/nn/index.js'
import { AdamW, Muon, SGD } from '../lib/optim/index.js'

/** The machine's limits that rows are compared with. */
export type Limit = 'f32' | 'bf16' | 'copy'

/** One row. */
export interface Row {
  name: string
  /** FLOPs, or bytes where the limit is 'copy'; the fewest that the work needs. */
  work: number
  limit: Limit
  run: () => void
  /** Relative error against float64 (Frobenius), where that has a meaning. */
  error?: () => number
}

const relative = (a: Tensor, b: Tensor) => a.to('float64').sub(b).norm().item() / b.norm().item()

function matmulRow(kind: 'f32' | 'bf16', m: number, k: number, n: number): Row {
  const dtype = kind === 'f32' ? 'float32' : 'bfloat16'
  const a = randn([m, k], { dtype })
  const b = randn([k, n], { dtype })
  return {
    name: `matmul ${kind} ${m}x${k}x${n}`,
    work: 2 * m * k * n,
    limit: kind,
    run: () => scope(() => void matmul(a, b)),
    error: () => scope(() => relative(matmul(a, b), matmul(a.to('float64'), b.to('float64')))),
  }
}

/** Newton–Schulz with the plain formula in float64. */
function exactNewtonSchulz(x: Tensor): Tensor {
  let y = x.to('float64')
  if ((x.shape[0] as number) > (x.shape[1] as number)) return exactNewtonSchulz(x.T).T
  y = y.div(y.norm())
  for (let i = 0; i < 5; i++) {
    const a = y.matmul(y.T)
    y = y.mul(3.4445).add(a.mul(-4.775).add(a.matmul(a).mul(2.0315)).matmul(y))
  }
  return y
}

function orthogonalizeRow(kind: 'f32' | 'bf16', rows: number, cols: number): Row {
  const x = randn([rows, cols])
  const compute = kind === 'f32' ? 'float32' : 'bfloat16'
  const [m, n] = [Math.min(rows, cols), Math.max(rows, cols)]
  return {
    name: `orthogonalize ${kind} ${rows}x${cols}`,
    // The direct form with halved symmetric products; the Gram form needs fewer, so the fraction may pass 1.
    work: 5 * (3 * m * m * n + m ** 3),
    limit: kind,
    run: () => scope(() => void orthogonalize(x, { compute })),
    error: () => scope(() => relative(orthogonalize(x, { compute }), exactNewtonSchulz(x))),
  }
}

function trainRow(optimizer: 'sgd' | 'adamw', dims: number[], batch: number): Row {
  const layers = dims.slice(1).map(
    (out, i) =>
      new nn.Linear(dims[i] as number, out, {
        activation: i < dims.length - 2 ? 'relu' : 'none',
      }),
  )
  const net = new nn.Sequential(...layers)
  const opt = new (optimizer === 'sgd' ? SGD : AdamW)(net.parameters(), { lr: 1e-3 })
  const x = randn([batch, dims[0] as number])
  const t = randint(0, dims.at(-1) as number, [batch])
  const products = dims
    .slice(1)
    .reduce((sum, out, i) => sum + (i === 0 ? 4 : 6) * batch * out * (dims[i] as number), 0)
  return {
    name: `train ${optimizer} ${dims.join('-')} ${batch}`,
    work: products,
    limit: 'f32',
    run: () =>
      scope(() => {
        nn.crossEntropy(net.call(x), t).backward()
        opt.step()
        opt.zeroGrad()
      }),
  }
}

function adamwRow(n: number): Row {
  const p = randn([n])
  const g = randn([n])
  const opt = new AdamW([p])
  return { name: `adamw ${n}`, work: 28 * n, limit: 'copy', run: () => opt.step([g]) }
}

/** Hidden matrices of `layers` layers of GPT-2 small. */
function muonRow(layers: number): Row {
  const shapes = [...Array.from({ length: 4 }, () => [768, 768]), [3072, 768], [768, 3072]]
  const all = Array.from({ length: layers }, () => shapes).flat()
  const params = all.map((shape) => randn(shape))
  const grads = all.map((shape) => randn(shape))
  const opt = new Muon(params)
  const work = all.reduce((sum, [r, c]) => {
    const [m, n] = [Math.min(r as number, c as number), Math.max(r as number, c as number)]
    return sum + 5 * (3 * m * m * n + m ** 3)
  }, 0)
  return { name: `muon ${layers}`, work, limit: 'bf16', run: () => opt.step(grads) }
}

/** Makers of rows by name; made one at a time to keep memory low. */
export const rows: [string, () => Row][] = [
  ...(
    [
      [128, 128, 128],
      [256, 256, 256],
      [512, 512, 512],
      [1024, 1024, 1024],
      [2048, 2048, 2048],
      [128, 784, 512],
    ] as const
  ).flatMap(([m, k, n]): [string, () => Row][] =>
    (['f32', 'bf16'] as const).map((kind) => [
      `matmul ${kind} ${m}x${k}x${n}`,
      () => matmulRow(kind, m, k, n),
    ]),
  ),
  ...(
    [
      [512, 512],
      [768, 768],
      [768, 3072],
      [1024, 1024],
      [1024, 4096],
      [4096, 1024],
    ] as const
  ).flatMap(([m, n]): [string, () => Row][] =>
    (['f32', 'bf16'] as const).map((kind) => [
      `orthogonalize ${kind} ${m}x${n}`,
      () => orthogonalizeRow(kind, m, n),
    ]),
  ),
  ['muon 1', () => muonRow(1)],
  ['adamw 16000000', () => adamwRow(16_000_000)],
  ['train sgd 784-512-10 128', () => trainRow('sgd', [784, 512, 10], 128)],
  ['train adamw 784-512-10 128', () => trainRow('adamw', [784, 512, 10], 128)],
  ['train adamw 784-2048-2048-10 256', () => trainRow('adamw', [784, 2048, 2048, 10], 256)],
  ['train adamw 8-16-2 4', () => trainRow('adamw', [8, 16, 2], 4)],
]
