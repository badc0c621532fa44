/**
 * What is timed on a GPU: the work of the CUDA engine's bars (issue 4 of the project: what must be reached
 * beside which peer), at their sizes or small ones for tests.
 */

import { cat, Generator, ones, randint, scope, type Tensor, zeros } from '../../lib/index.js'
import { matmul, orthogonalize, randomizedSvd } from '../../lib/linalg/index.js'
import { topK } from '../../lib/masks/index.js'
import * as nn from '../../lib/nn/index.js'
import { AdamW, Muon, NorMuon, SGD } from '../../lib/optim/index.js'
import { blocks } from '../rows/networks.js'
import { newtonSchulzWork } from '../rows/orthogonalize.js'
import { relativeError } from '../rows/row.js'
import { mlpOf, mlpWork } from '../rows/train.js'

/** One row. Its name tells the peer what to do. */
export interface DeviceRow {
  name: string
  /** FLOPs, or bytes where `unit` says so. */
  work: number
  unit: 'FLOP' | 'byte'
  run: () => unknown
  /** Relative to float64, or what else says that the result is right; 0 is best. */
  error: () => number
}

/** A peer by its name, and how many times as fast as it ours must be. */
export type Bar = [peer: string, must: number]

/** A row by its name, made when its turn comes. */
export interface Maker {
  name: string
  bars: Bar[]
  make: (device: string) => DeviceRow
}

const generator = () => new Generator(7)
const normal = (device: string, ...shape: number[]): Tensor =>
  generator().fill(zeros(shape).to(device), 'normal', 0, 1)

function product(m: number, k: number, n: number): Maker {
  const name = `matmul bf16 ${m}x${k}x${n}`
  return {
    name,
    bars: [['torch', 0.85]],
    make: (device) => {
      const a = normal(device, m, k).to('bfloat16')
      const b = normal(device, k, n).to('bfloat16')
      const run = () => matmul(a, b, { compute: 'bfloat16' })
      // Rows spread over all tiles.
      const some = (x: Tensor) => x.slice(0, 0, m, Math.max(1, Math.floor(m / 61))).to('float64')
      return {
        name,
        work: 2 * m * k * n,
        unit: 'FLOP',
        run: () => scope(() => void run()),
        error: () => scope(() => relativeError(some(run()), some(a).matmul(b.to('float64')))),
      }
    },
  }
}

/** The plain formula in float64, on the device. */
function exact(x: Tensor): Tensor {
  if ((x.shape[0] as number) > (x.shape[1] as number)) return exact(x.T).T
  let y = x.to('float64')
  y = y.div(y.norm())
  for (let i = 0; i < 5; i++) {
    const a = y.matmul(y.T)
    y = y.mul(3.4445).add(a.mul(-4.775).add(a.matmul(a).mul(2.0315)).matmul(y))
  }
  return y
}

function newtonSchulz(rows: number, cols: number): Maker {
  const name = `orthogonalize bf16 ${rows}x${cols}`
  return {
    name,
    bars: [
      ['torch', rows === cols ? 1.35 : 2],
      ...(rows === cols ? [['dion triton', 1] as Bar] : []),
      ['gram-newton-schulz', 1],
    ],
    make: (device) => {
      const x = normal(device, rows, cols)
      return {
        name,
        work: newtonSchulzWork(rows, cols),
        unit: 'FLOP',
        run: () => scope(() => void orthogonalize(x)),
        error: () => scope(() => relativeError(orthogonalize(x), exact(x))),
      }
    },
  }
}

function step(kind: 'muon' | 'normuon', layers: number, width: number): Maker {
  const name = `${kind} ${layers} ${width}`
  return {
    name,
    bars: [['torch compiled', 1.8]],
    make: (device) => {
      const shapes = [
        ...Array.from({ length: 4 }, () => [width, width]),
        [4 * width, width],
        [width, 4 * width],
      ]
      const all = Array.from({ length: layers }, () => shapes).flat() as [number, number][]
      const params = all.map((shape) => normal(device, ...shape))
      const grads = all.map((shape) => normal(device, ...shape))
      const options = { lr: 1e-3 }
      const optimizer = kind === 'muon' ? new Muon(params, options) : new NorMuon(params, options)
      return {
        name,
        work: all.reduce((sum, [r, c]) => sum + newtonSchulzWork(r, c), 0),
        unit: 'FLOP',
        run: () => optimizer.step(grads),
        // One step of one matrix against the CPU's.
        error: () =>
          scope(() => {
            const move = (place: string) => {
              const p = normal(place, width, width)
              const own = kind === 'muon' ? new Muon([p], { lr: 1 }) : new NorMuon([p], { lr: 1 })
              own.step([grads[0]?.to(place) as Tensor])
              return p.to('cpu').sub(normal('cpu', width, width))
            }
            return relativeError(move(device), move('cpu').to('float64'))
          }),
      }
    },
  }
}

function svd(n: number, rank: number): Maker {
  const name = `randomizedSvd ${n}x${n} ${rank}`
  return {
    name,
    bars: [['torch', 3]],
    make: (device) => {
      // Of known singular values: columns of an orthonormal basis, weighted.
      const basis = orthogonalize(normal(device, n, 2 * rank), {
        coefficients: 'cubic',
        steps: 40,
        compute: 'float32',
      })
      const values = ones([2 * rank]).data.map((_, i) => 0.9 ** i)
      const weights = zeros([2 * rank])
      weights.data.set(values)
      const x = basis.mul(weights.to(device)).matmul(basis.T)
      const run = () => randomizedSvd(x, rank, { powerIterations: 2 })
      return {
        name,
        work: 6 * 4 * n * n,
        unit: 'byte',
        run: () => scope(() => void run()),
        error: () =>
          scope(() => relativeError(run().s.to('cpu'), weights.slice(0, 0, rank).to('float64'))),
      }
    },
  }
}

function select(n: number, density: number): Maker {
  const name = `topk ${n} ${density}`
  return {
    name,
    bars: [['torch', 10]],
    make: (device) => {
      const x = normal(device, n)
      const k = Math.round(density * n)
      const run = () => topK(x, { k, by: 'magnitude' })
      return {
        name,
        work: 4 * n + n / 8,
        unit: 'byte',
        run,
        // Exactly k, and none that is off above one that is on.
        error: () =>
          scope(() => {
            const mask = run()
            const size = x.abs()
            const on = mask.apply(size)
            const off = mask.not().apply(size).max().item()
            const smallest = on
              .add(
                mask
                  .not()
                  .apply(ones([n]).to(device))
                  .mul(1e30),
              )
              .min()
              .item()
            return (mask.count() === k ? 0 : 1) + (off <= smallest ? 0 : 1)
          }),
      }
    },
  }
}

function adamw(n: number, tensors: number): Maker {
  const name = `adamw ${n} ${tensors}`
  return {
    name,
    bars: [['torch fused', 1]],
    make: (device) => {
      const each = Math.floor(n / tensors)
      const params = Array.from({ length: tensors }, () => normal(device, each))
      const grads = params.map((p) => p.mul(0.5))
      const optimizer = new AdamW(params, { lr: 1e-3 })
      return {
        name,
        work: 28 * n,
        unit: 'byte',
        run: () => optimizer.step(grads),
        error: () =>
          scope(() => {
            const m = Math.min(each, 100_000)
            const move = (place: string) => {
              const p = normal(place, m)
              new AdamW([p], { lr: 1 }).step([normal(place, m).mul(0.5)])
              return p.to('cpu')
            }
            return relativeError(move(device), move('cpu').to('float64'))
          }),
      }
    },
  }
}

/** FLOPs and a step of a network on a device; its gradients against the CPU's on a smaller batch. */
function training(
  name: string,
  work: number,
  build: () => nn.Module,
  loss: (net: nn.Module, device: string, check: boolean) => () => Tensor,
  Kind: typeof SGD | typeof AdamW,
): Maker {
  return {
    name,
    bars: [['torch', 1]],
    make: (device) => {
      const net = build().to(device)
      const optimizer = new Kind(net.parameters(), { lr: 1e-3 })
      const now = loss(net, device, false)
      const gradients = (own: nn.Module, place: string) => {
        loss(own, place, true)().backward()
        return cat(
          own.parameters().map((p) => (p.grad as Tensor).to('cpu').reshape(-1)),
          0,
        )
      }
      return {
        name,
        work,
        unit: 'FLOP',
        run: () =>
          scope(() => {
            now().backward()
            optimizer.step()
            optimizer.zeroGrad()
          }),
        error: () =>
          scope(() => {
            const here = build()
            const there = build()
            there.loadStateDict(here.stateDict())
            return relativeError(
              gradients(there.to(device), device),
              gradients(here, 'cpu').to('float64'),
            )
          }),
      }
    },
  }
}

const integers = (device: string, high: number, shape: number[]): Tensor =>
  randint(0, high, shape, { generator: generator() }).to(device)

function mlp(optimizer: 'sgd' | 'adamw', dims: number[], batch: number): Maker {
  return training(
    `train ${optimizer} ${dims.join('-')} ${batch}`,
    mlpWork(dims, batch),
    () => mlpOf(dims),
    (net, device) => {
      const x = normal(device, batch, dims[0] as number)
      const t = integers(device, dims.at(-1) as number, [batch])
      return () => nn.crossEntropy(net.call(x), t)
    },
    optimizer === 'sgd' ? SGD : AdamW,
  )
}

function gpt(layers: number, width: number, context: number, batch: number): Maker {
  const vocabulary = 256
  const heads = Math.max(1, width / 64)
  const token = blocks(layers, width, context / 2) + 6 * width * vocabulary
  return training(
    `train gpt ${layers}x${width} ${context} ${batch}`,
    batch * context * token,
    () => new nn.GPT({ vocabulary, context, layers, heads, width }),
    (net, device, check) => {
      const shape = check ? [1, Math.min(context, 64)] : [batch, context]
      const x = integers(device, vocabulary, shape)
      const t = integers(device, vocabulary, [(shape[0] as number) * (shape[1] as number)])
      return () => nn.crossEntropy(net.call(x).reshape(-1, vocabulary), t)
    },
    AdamW,
  )
}

/** The rows of the bars; small ones run in seconds anywhere. */
export const deviceRows = (small: boolean): Maker[] =>
  small
    ? [
        product(64, 32, 48),
        newtonSchulz(32, 48),
        step('muon', 1, 16),
        step('normuon', 1, 16),
        svd(100, 6),
        select(40_000, 0.1),
        adamw(20_000, 3),
        mlp('adamw', [12, 16, 4], 8),
        gpt(1, 64, 12, 2),
      ]
    : [
        product(4096, 4096, 4096),
        product(8192, 8192, 8192),
        ...[2048, 4096, 8192].map((n) => newtonSchulz(n, n)),
        newtonSchulz(2048, 8192),
        newtonSchulz(8192, 2048),
        newtonSchulz(4096, 16384),
        step('muon', 12, 768),
        step('normuon', 12, 768),
        // About 1.1 billion parameters.
        step('muon', 22, 2048),
        step('normuon', 22, 2048),
        svd(8192, 64),
        select(1_000_000_000, 0.01),
        adamw(1_100_000_000, 100),
        mlp('sgd', [784, 512, 10], 128),
        mlp('adamw', [784, 2048, 2048, 10], 256),
        gpt(4, 256, 128, 8),
        gpt(12, 768, 1024, 8),
      ]
