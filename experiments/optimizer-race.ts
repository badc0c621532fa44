/**
 * Trains one task with several optimizers and asks how many steps each needs. A trunk runs at a constant
 * learning rate (after a warm-up); at some fractions of the budget the rate is brought down to 0 over a
 * fifth of what was run, on a copy, so that every fraction gives the loss of a whole training of that
 * length (warm-up, stable, decay).
 */

import { AbortError } from '../lib/engine/errors.js'
import type { Module } from '../lib/nn/index.js'
import { AdamW, Muon, muonGroups, NorMuon, type Optimizer } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'
import type { Curve } from '../lib/report/report.js'
import { scope, type Tensor } from '../lib/tensor/index.js'

export const optimizerNames = ['AdamW', 'Muon', 'NorMuon'] as const
export type OptimizerName = (typeof optimizerNames)[number]

/** Learning rate and weight decay by optimizer. */
export type Optimizers = Record<OptimizerName, { lr: number; weightDecay: number }>

/** A problem. */
export interface Task {
  name: string
  /** The full budget. */
  steps: number
  parameters: number
  /** Tokens or patches a step. */
  tokens: number
  model(generator: Generator): Module
  /** The loss of a random batch, `times` times as large as usual. */
  loss(net: Module, generator: Generator, times?: number): Tensor
  /** Loss on held-out data. */
  evaluate(net: Module): number
}

/** What an optimizer is made with. */
export interface Setting {
  name: OptimizerName
  lr: number
  weightDecay: number
}

/** AdamW's rate for what Muon and NorMuon leave: not tuned. */
const restLr = 0.004

type Any = Pick<
  Optimizer<{ lr: number }>,
  'step' | 'zeroGrad' | 'paramGroups' | 'stateDict' | 'loadStateDict'
>

/** An optimizer; matrices of queries, keys and values are orthogonalized apart. */
export function optimizerFor(net: Module, { name, lr, weightDecay }: Setting): Any {
  const betas: [number, number] = [0.9, 0.95]
  const split = muonGroups(net)
  if (name === 'AdamW') {
    // Embeddings, norms and biases are not decayed, with any of the optimizers.
    return new AdamW(
      [
        { params: split.hidden.params, weightDecay },
        { params: split.rest.params, weightDecay: 0 },
      ],
      { lr, betas },
    )
  }
  const fused = (p: { shape: readonly number[] }) => p.shape[0] === 3 * (p.shape[1] as number)
  const hidden = split.hidden.params
  const width = hidden.find(fused)?.shape[1] as number
  const Class = name === 'Muon' ? Muon : NorMuon
  const groups = [
    { params: hidden.filter(fused), splitSizes: [width, width, width] },
    { params: hidden.filter((p) => !fused(p)) },
    { algorithm: 'adamw', params: split.rest.params, lr: restLr, betas, weightDecay: 0 },
  ]
  return new Class(groups as never, { lr, weightDecay }) as unknown as Any
}

/** The loss at the end of a budget. */
export interface Point {
  steps: number
  loss: number
}

/** One optimizer on one seed: a point for every branch. */
export async function trainBranches(
  task: Task,
  setting: Setting,
  options: {
    seed: number
    steps: number
    branches: readonly number[]
    signal?: AbortSignal | undefined
  },
): Promise<Point[]> {
  const { seed, steps, branches, signal } = options
  const net = task.model(new Generator(seed))
  const optimizer = optimizerFor(net, setting)
  const base = optimizer.paramGroups.map(({ lr }) => lr)
  const order = new Generator(1000 + seed)
  const warmup = Math.ceil(steps / 5)
  const step = async (factor: number) => {
    if (signal?.aborted) throw new AbortError()
    optimizer.paramGroups.forEach((group, i) => {
      group.lr = (base[i] as number) * factor
    })
    scope(() => {
      task.loss(net, order).backward()
      optimizer.step()
      optimizer.zeroGrad()
    })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const points: Point[] = []
  let done = 0
  for (const fraction of branches) {
    const end = Math.round(fraction * steps)
    const turn = end - Math.round(0.2 * end)
    for (; done < turn; done++) await step(Math.min(1, (done + 1) / warmup))
    const parameters = net.parameters().map((p) => p.array.slice())
    const state = optimizer.stateDict()
    const { position } = order
    for (let at = turn; at < end; at++) await step((end - at) / (end - turn + 1))
    points.push({ steps: end, loss: task.evaluate(net) })
    net.parameters().forEach((p, i) => {
      p.array.set(parameters[i] as Float32Array)
    })
    optimizer.loadStateDict(state)
    order.position = position
  }
  return points
}

/** Where the line through a run's points first falls to a loss; beyond its ends, the line goes on. */
export function stepsToReach(points: readonly Point[], loss: number): number {
  const at = points.findIndex((p) => p.loss <= loss)
  const right = Math.max(1, at < 0 ? points.length - 1 : at)
  const [a, b] = [points[right - 1], points[right]] as [Point, Point]
  const slope = (b.loss - a.loss) / (b.steps - a.steps)
  // A run that no longer falls never reaches it; one that begins below it is credited its first budget.
  if (at < 0 && slope >= 0) return 2 * b.steps
  if (at === 0) return a.steps
  return Math.min(2 * (points.at(-1) as Point).steps, a.steps + (loss - a.loss) / slope)
}

/** Means over seeds as curves. */
export function curves(results: Record<string, readonly (readonly Point[])[]>): Curve[] {
  return Object.entries(results).map(([name, runs]) => ({
    name,
    points: (runs[0] ?? []).map(({ steps }, i) => ({
      x: steps,
      y: runs.reduce((sum, run) => sum + (run[i]?.loss as number) / runs.length, 0),
    })),
  }))
}

/** Norms of the rows of one update of the second block's hidden layer after some steps. */
export function evenness(task: Task, optimizers: Optimizers, steps: number) {
  const measure = (name: 'Muon' | 'NorMuon') => {
    const net = task.model(new Generator(1))
    const setting = { name, ...optimizers[name], weightDecay: 0 }
    const optimizer = optimizerFor(net, setting)
    const order = new Generator(1001)
    const weight = net
      .namedParameters()
      .find(([path]) => path === 'blocks.1.mlp1.weight')?.[1] as Tensor
    let before = weight.array.slice()
    for (let s = 0; s < steps; s++) {
      before = weight.array.slice()
      scope(() => {
        task.loss(net, order).backward()
        optimizer.step()
        optimizer.zeroGrad()
      })
    }
    const [rows, cols] = weight.shape as [number, number]
    const norms = Array.from({ length: rows }, (_, r) => {
      let squares = 0
      for (let c = r * cols; c < (r + 1) * cols; c++) {
        squares += ((weight.array[c] as number) - (before[c] as number)) ** 2
      }
      return Math.sqrt(squares)
    })
    const mean = norms.reduce((a, b) => a + b, 0) / rows
    const deviation = Math.sqrt(norms.reduce((sum, x) => sum + (x - mean) ** 2, 0) / rows)
    const width = 0.1
    const histogram = Array.from({ length: 20 }, (_, i) => ({
      name: (i * width).toFixed(1),
      value: norms.filter((x) => Math.min(19, Math.floor(x / mean / width)) === i).length,
    }))
    return { spread: deviation / mean, histogram }
  }
  return { Muon: measure('Muon'), NorMuon: measure('NorMuon') }
}

/** Bytes of state a parameter, over the whole model. */
export function stateBytes(task: Task, optimizers: Optimizers): Record<OptimizerName, number> {
  const bytes = optimizerNames.map((name) => {
    const net = task.model(new Generator(1))
    const optimizer = optimizerFor(net, { name, ...optimizers[name] })
    scope(() => {
      task.loss(net, new Generator(1)).backward()
      optimizer.step()
    })
    const arrays = optimizer.stateDict().state.flatMap((entry) => Object.values(entry))
    const sum = arrays.reduce<number>((n, x) => n + (typeof x === 'number' ? 0 : x.byteLength), 0)
    return [name, sum / task.parameters]
  })
  return Object.fromEntries(bytes)
}

/**
 * Milliseconds of forward and backward, and of each optimizer's step: the median of `rounds`, for batches
 * `sizes` times as large as usual.
 */
export function breakdown(
  task: Task,
  optimizers: Optimizers,
  { rounds, sizes }: { rounds: number; sizes: readonly number[] },
) {
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] as number
  return sizes.map((times) => {
    const forward: number[] = []
    const steps = optimizerNames.map((name) => {
      const net = task.model(new Generator(1))
      const optimizer = optimizerFor(net, { name, ...optimizers[name] })
      const order = new Generator(1)
      const own: number[] = []
      for (let r = 0; r <= rounds; r++) {
        const begin = performance.now()
        scope(() => {
          task.loss(net, order, times).backward()
          const middle = performance.now()
          optimizer.step()
          // The first round makes state and workspaces.
          if (r > 0) {
            forward.push(middle - begin)
            own.push(performance.now() - middle)
          }
          optimizer.zeroGrad()
        })
      }
      return [name, median(own)]
    })
    const optimizer: Record<OptimizerName, number> = Object.fromEntries(steps)
    return { tokens: task.tokens * times, forwardBackward: median(forward), optimizer }
  })
}
