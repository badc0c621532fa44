import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'tap'
import {
  AGem,
  type Context,
  DerPlusPlus,
  Er,
  Ewc,
  FeatKd,
  fisherDiagonal,
  Joint,
  L2,
  Lwf,
  limited,
  Mas,
  Naive,
  OnlineEwc,
  PredKd,
  permuted,
  projectConflict,
  Refresh,
  Si,
  type Strategy,
  split,
  Trainer,
  type TrainerOptions,
} from '../../lib/continual/index.js'
import { AbortError, randn, Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { SGD } from '../../lib/optim/index.js'
import { Generator } from '../../lib/random/index.js'
import { bitsOf, clusters, small, width } from './tiny.js'

const data = clusters()
const scenario = split(data, { tasks: 3 })

const options = (strategies: Strategy[], more: Partial<TrainerOptions> = {}): TrainerOptions => ({
  scenario,
  model: small(scenario.outputs),
  optimizer: (model) => new SGD(model.parameters(), { lr: 0.05, momentum: 0.5 }),
  batchSize: 16,
  seed: 2,
  strategies,
  ...more,
})

/** A linear model, whose gradients are known. */
const linear = (generator: Generator) => new nn.Sequential(new nn.Linear(width, 6, { generator }))

async function trained(strategies: Strategy[], more: Partial<TrainerOptions> = {}) {
  const trainer = new Trainer(options(strategies, more))
  const result = await trainer.run()
  return { result, bits: bitsOf(trainer.context.model), trainer }
}

/** Zero as +0 or −0 is one number. */
const weights = ({ trainer }: { trainer: Trainer }) =>
  trainer.context.model.parameters().map((x) => Array.from(x.data, (v) => v + 0))

const every: Record<string, () => Strategy[]> = {
  naive: () => [new Naive()],
  joint: () => [new Joint()],
  er: () => [new Er({ memory: 20 })],
  'der++': () => [new DerPlusPlus({ memory: 20 })],
  lwf: () => [new Lwf()],
  'a-gem': () => [new AGem({ memory: 20 })],
  si: () => [new Si()],
  ewc: () => [new Ewc({ lambda: 10, samples: 20 })],
  'online-ewc': () => [new OnlineEwc({ lambda: 10, samples: 20, gamma: 0.9, labels: 'sampled' })],
  l2: () => [new L2()],
  mas: () => [new Mas({ lambda: 0.1, samples: 20 })],
  'pred-kd + feat-kd + l2': () => [new PredKd({ kind: 'sigmoid' }), new FeatKd(), new L2()],
  'refresh + er': () => [new Refresh({ samples: 20 }), new Er({ memory: 20 })],
}

for (const [name, make] of Object.entries(every)) {
  test(`${name}: learns in every setting, and resumes to the same bits in the middle`, async (t) => {
    for (const setting of ['task', 'domain'] as const) {
      const stream = split(data, { tasks: 3, setting })
      const { result } = await trained(make(), { scenario: stream, model: small(stream.outputs) })
      t.ok(result.metrics.averageAccuracy > 0.5, `${setting} ${result.metrics.averageAccuracy}`)
    }
    const whole = await trained(make())
    const stop = new AbortController()
    const half = new Trainer(options(make()))
    const onStep = ({ step }: { step: number }) => void (step === 8 && stop.abort())
    await t.rejects(half.run({ signal: stop.signal, onStep }), AbortError)
    const folder = t.testdir()
    half.save(join(folder, 'half.safetensors'))
    const rest = new Trainer(options(make()))
    rest.load(join(folder, 'half.safetensors'))
    const result = await rest.run()
    t.strictSame(bitsOf(rest.context.model), whole.bits)
    t.strictSame(result.matrix, whole.result.matrix)
    t.ok(result.matrix.flat().every((a) => a === null || (a >= 0 && a <= 1)))
  })
}

test('strength zero is the naive way, to the bit', async (t) => {
  const naive = await trained([])
  t.strictSame((await trained([new Lwf({ lambda: 0 })])).bits, naive.bits)
  t.strictSame((await trained([new PredKd({ lambda: 0 })])).bits, naive.bits)
  t.strictSame((await trained([new FeatKd({ lambda: 0 })])).bits, naive.bits)
  t.strictSame((await trained([new L2({ lambda: 0 })])).bits, naive.bits)
  t.strictSame((await trained([new Si({ c: 0 })])).bits, naive.bits)
  t.strictSame((await trained([new L2({ include: () => false })])).bits, naive.bits)
  // F = 0 with λ > 0: the penalty is computed, and is nothing.
  const ewc = new Ewc({ lambda: 100, samples: 10 })
  const forgetful: Strategy = {
    name: 'forgetful',
    afterExperience: () => {
      for (const f of ewc.penalty.importance) f.zero_()
    },
  }
  t.strictSame((await trained([ewc, forgetful])).bits, naive.bits)
})

test('refresh with unlearning rate zero is its base, to the bit', async (t) => {
  for (const base of [
    () => new Er({ memory: 20 }),
    () => new DerPlusPlus({ memory: 20 }),
    () => new Ewc({ lambda: 10, samples: 20 }),
  ]) {
    const plain = await trained([base()])
    t.strictSame((await trained([new Refresh({ rate: 0 }), base()])).bits, plain.bits)
    t.notSame((await trained([new Refresh({ rate: 1e-2, samples: 20 }), base()])).bits, plain.bits)
  }
})

test('EWC with F = 1 is L2', async (t) => {
  const two = { ...scenario, experiences: scenario.experiences.slice(0, 2) }
  const l2 = new L2({ lambda: 0.7 })
  const ewc = new Ewc({ lambda: 0.7, samples: 4 })
  const ones: Strategy = {
    name: 'ones',
    afterExperience: (c) => {
      // As L2 does: the rows of classes that have not come are free.
      const same = new L2()
      same.afterExperience(c)
      ewc.penalty.importance.forEach((f, i) => {
        f.copy_(same.penalty.importance[i] as Tensor)
        ;(ewc.penalty.anchor[i] as Tensor).copy_(c.parameters[i] as Tensor)
      })
    },
  }
  const a = await trained([ewc, ones], { scenario: two })
  const b = await trained([l2], { scenario: two })
  t.strictSame(weights(a), weights(b))
})

test('DER++ without its terms is the naive way; DER keeps the outputs of the step', async (t) => {
  const none = await trained([new DerPlusPlus({ alpha: 0, beta: 0 })], {
    model: small(6, { dropout: 0 }),
  })
  t.strictSame(weights(none), weights(await trained([], { model: small(6, { dropout: 0 }) })))
  const der = new DerPlusPlus({ memory: 500 })
  const seen: number[][] = []
  const watch: Strategy = {
    name: 'watch',
    afterStep: (c) => void seen.push(...(c.logits.detach().clone().toArray() as number[][])),
  }
  await trained([watch, der])
  const kept = der.memory.sample(500, new Generator(1))
  const rows = ((kept?.logits?.toArray() ?? []) as number[][]).map(String)
  t.strictSame(rows.sort(), seen.map(String).sort())
})

test('A-GEM: what is left of a gradient does not point against the memory’s', (t) => {
  const value = fc.integer({ min: -48, max: 48 }).map((n) => n / 16)
  const vector = fc.array(value, { minLength: 6, maxLength: 6 })
  const tensors = (v: number[]) =>
    [v.slice(0, 2), v.slice(2)].map((part) =>
      Tensor.from({ data: Float32Array.from(part), shape: [part.length] }),
    )
  const dot = (a: Tensor[], b: Tensor[]) =>
    a.reduce(
      (sum, x, i) =>
        sum +
        x
          .to('float64')
          .mul(b[i] as Tensor)
          .sum()
          .item(),
      0,
    )
  fc.assert(
    fc.property(vector, vector, (g, r) => {
      const [grads, reference] = [tensors(g), tensors(r)]
      const before = dot(grads, reference)
      const size = Math.sqrt(dot(grads, grads) * dot(reference, reference))
      projectConflict(grads, reference)
      const after = dot(grads, reference)
      if (before >= 0) return Math.abs(after - before) < 1e-12
      return after >= -1e-6 * size
    }),
  )
  t.end()
})

test('A-GEM: a reference too small to divide by changes nothing', (t) => {
  const one = (v: number) => [Tensor.from({ data: Float32Array.of(v), shape: [1] })]
  const g = one(1)
  t.ok(projectConflict(g, one(-1e-30)) < 0)
  t.equal(g[0]?.item(), 1)
  t.end()
})

test('A-GEM in a run: the product with the memory’s gradient is never negative', async (t) => {
  const agem = new AGem({ memory: 30, replay: 30 })
  let projected = 0
  const products: number[] = []
  let before: Tensor[] = []
  const first: Strategy = {
    name: 'first',
    afterBackward: ({ parameters }) => {
      before = parameters.map((x) => (x.grad as Tensor).clone())
    },
  }
  const check: Strategy = {
    name: 'check',
    afterBackward: (c) => {
      // The whole memory is drawn, so its gradient is the reference, whatever the order.
      const old = agem.memory.sample(30, new Generator(0))
      if (!old) return
      const now = c.parameters.map((x) => (x.grad as Tensor).clone())
      for (const x of c.parameters) x.grad = null
      c.classify(c.forward(old.inputs), old).backward()
      const dot = (list: Tensor[]) =>
        list.reduce(
          (sum, x, i) =>
            sum +
            x
              .mul(c.parameters[i]?.grad as Tensor)
              .sum()
              .item(),
          0,
        )
      const norm = (list: Tensor[]) => Math.sqrt(list.reduce((s, x) => s + x.norm().item() ** 2, 0))
      const scale = norm(before) * norm(c.parameters.map((x) => x.grad as Tensor))
      if (dot(before) < 0) projected++
      products.push(dot(now) / scale)
      c.parameters.forEach((x, i) => {
        x.grad = now[i] as Tensor
      })
    },
  }
  await trained([first, agem, check], { model: small(6, { dropout: 0 }), epochs: 3 })
  t.ok(products.length > 10)
  t.ok(projected > 0, `${projected} of ${products.length} gradients were projected`)
  t.ok(
    products.every((p) => p > -1e-6),
    `least ${Math.min(...products)}`,
  )
})

test('Fisher, sampled Fisher and MAS of a linear model are the formulas’', async (t) => {
  let c: Context | null = null
  const found: Record<string, Tensor[]> = {}
  const watch: Strategy = {
    name: 'watch',
    afterExperience: (context) => {
      c = context
      const all = { samples: 1000, batchSize: 1 }
      const fisher = (labels: 'given' | 'sampled', weighted = false) =>
        fisherDiagonal(context, { ...all, labels, weighted }).map((x) => x.keep())
      found['given'] = fisher('given')
      found['weighted'] = fisher('given', true)
      const many = Array.from({ length: 60 }, () => fisher('sampled'))
      found['sampled'] = (many[0] as Tensor[]).map((_, i) =>
        many
          .reduce((sum, f) => sum.add(f[i] as Tensor), many[0]?.[i]?.mul(0) as Tensor)
          .div(60)
          .keep(),
      )
      const mas = new Mas({ samples: 1000 })
      mas.afterExperience(context)
      found['mas'] = mas.penalty.importance.map((x) => x.keep())
    },
  }
  const one = { ...split(data, { tasks: 1 }) }
  const { trainer } = await trained([watch], { scenario: one, model: linear })
  const [W, b] = trainer.context.parameters.map((x) => Array.from(x.data)) as [number[], number[]]
  t.ok(c)
  const { inputs, labels } = data.train
  const n = labels.length
  const exact = {
    given: new Float64Array(6 * width),
    sampled: new Float64Array(6 * width),
    weighted: new Float64Array(6 * width),
    mas: new Float64Array(6 * width),
  }
  for (let row = 0; row < n; row++) {
    const x = inputs.subarray(row * width, (row + 1) * width)
    const z = b.map((bias, k) =>
      x.reduce((sum, v, j) => sum + v * (W[k * width + j] as number), bias),
    )
    const e = z.map((v) => Math.exp(v - Math.max(...z)))
    const p = e.map((v) => v / e.reduce((a, c) => a + c))
    for (let k = 0; k < 6; k++) {
      const at = (label: number) => ((p[k] as number) - (label === k ? 1 : 0)) ** 2
      const label = labels[row] as number
      for (let j = 0; j < width; j++) {
        const i = k * width + j
        const square = (x[j] as number) ** 2 / n
        exact.given[i] = (exact.given[i] as number) + at(label) * square
        exact.weighted[i] =
          (exact.weighted[i] as number) + (p[label] as number) * at(label) * square
        exact.sampled[i] =
          (exact.sampled[i] as number) + p.reduce((sum, q, l) => sum + q * at(l), 0) * square
        exact.mas[i] =
          (exact.mas[i] as number) + Math.abs(2 * (z[k] as number) * (x[j] as number)) / n
      }
    }
  }
  const error = (name: keyof typeof exact) => {
    const values = (found[name] as Tensor[])[0]?.data as Float32Array
    const scale = Math.max(...exact[name])
    return Math.max(...values.map((v, i) => Math.abs(v - (exact[name][i] as number)))) / scale
  }
  t.ok(error('given') < 1e-5, `${error('given')}`)
  t.ok(error('weighted') < 1e-5, `${error('weighted')}`)
  t.ok(error('mas') < 1e-5, `${error('mas')}`)
  t.ok(error('sampled') < 0.1, `${error('sampled')}`)
  t.ok(
    error('sampled') <
      (0.5 * Math.max(...exact.given.map((v, i) => Math.abs(v - (exact.sampled[i] as number))))) /
        Math.max(...exact.sampled),
  )
})

test('SI: ω is −Σ g·Δθ over the task, by float64 sums', async (t) => {
  const si = new Si({ c: 0, xi: 0.1 })
  let start: Float64Array[] = []
  let omega: Float64Array[] = []
  let before: Float64Array[] = []
  const copy = (list: readonly Tensor[]) => list.map((x) => Float64Array.from(x.clone().data))
  const watch: Strategy = {
    name: 'watch',
    beforeExperience: ({ parameters }) => {
      start = copy(parameters)
      omega = start.map((x) => new Float64Array(x.length))
    },
    beforeStep: ({ parameters }) => {
      before = copy(parameters)
    },
    afterStep: ({ parameters }) => {
      const after = copy(parameters)
      const grads = copy(parameters.map((x) => x.grad as Tensor))
      omega.forEach((sum, i) => {
        for (let j = 0; j < sum.length; j++) {
          const moved = (after[i]?.[j] as number) - (before[i]?.[j] as number)
          sum[j] = (sum[j] as number) - (grads[i]?.[j] as number) * moved
        }
      })
    },
  }
  const one = { ...scenario, experiences: scenario.experiences.slice(0, 1) }
  const { trainer } = await trained([watch, si], { scenario: one })
  const end = copy(trainer.context.parameters)
  let worst = 0
  si.penalty.importance.forEach((found, i) => {
    const exact = Array.from(
      omega[i] as Float64Array,
      (w, j) => w / (((end[i]?.[j] as number) - (start[i]?.[j] as number)) ** 2 + 0.1),
    )
    const scale = Math.max(...exact.map(Math.abs))
    found.data.forEach((v, j) => {
      worst = Math.max(worst, Math.abs(v - (exact[j] as number)) / scale)
    })
  })
  t.ok(worst < 1e-4, `${worst}`)
})

test('refresh moves every tensor by its share of its norm, uphill', async (t) => {
  const refresh = new Refresh({ rate: 1e-3, noise: 0, steps: 1 })
  const moves: number[] = []
  const losses: number[] = []
  let before: Tensor[] = []
  const lossOf = (c: Context) => c.classify(c.forward(c.fresh.inputs), c.fresh).item()
  const first: Strategy = {
    name: 'first',
    beforeStep: (c) => {
      before = c.parameters.map((x) => x.detach().clone())
      losses.push(-lossOf(c))
    },
  }
  const last: Strategy = {
    name: 'last',
    beforeStep: (c) => {
      const i = losses.length - 1
      losses[i] = (losses[i] as number) + lossOf(c)
      c.parameters.forEach((x, j) => {
        const old = before[j] as Tensor
        moves.push(x.detach().sub(old).norm().item() / old.norm().item())
      })
    },
  }
  const one = { ...scenario, experiences: scenario.experiences.slice(0, 1) }
  await trained([first, refresh, last], { scenario: one, model: small(6, { dropout: 0 }) })
  t.ok(
    moves.every((move) => Math.abs(move - 1e-3) < 1e-5),
    `${Math.min(...moves)} to ${Math.max(...moves)}`,
  )
  t.ok(losses.every((rise) => rise > 0))
})

test('memory does not grow with the stream, except the joint way’s', async (t) => {
  const long = limited(permuted(data, { tasks: 12, setting: 'domain' }), { train: 32, test: 6 })
  for (const [name, make] of Object.entries(every)) {
    if (name === 'joint') continue
    const { result } = await trained(make(), { scenario: long, model: small(6) })
    const bytes = result.experiences.map((e) => e.strategyBytes)
    t.equal(bytes.at(-1), bytes[1], `${name}: ${bytes.at(-1)} bytes after 12 tasks`)
  }
})

test('joint trains on all examples so far, each with its task', async (t) => {
  const sizes: number[] = []
  const watch: Strategy = {
    name: 'watch',
    beforeExperience: ({ trainData }) => {
      sizes.push(trainData.labels.length)
      trainData.labels.forEach((label, i) => {
        if (Math.floor(label / 2) !== trainData.tasks?.[i]) t.fail()
      })
    },
  }
  const { result } = await trained([new Joint(), watch], { epochs: 3 })
  t.strictSame(sizes, [80, 160, 240])
  t.ok(result.metrics.averageAccuracy > 0.9)
})

test('wrong options are named', (t) => {
  t.throws(() => new Lwf({ lambda: -1 }), /'lambda'/)
  t.throws(() => new Lwf({ temperature: 0 }), /'temperature'/)
  t.throws(() => new Ewc({ samples: 0 }), /'samples'/)
  t.throws(() => new Ewc({ lambda: Number.NaN }), /'lambda'/)
  t.throws(() => new Ewc({ labels: 'mine' as 'given' }), /'labels'/)
  t.throws(() => new OnlineEwc({ gamma: 2 }), /'gamma'/)
  t.throws(() => new Si({ xi: 0 }), /'xi'/)
  t.throws(() => new DerPlusPlus({ replay: 0.5 }), /'replay'/)
  t.throws(() => new AGem({ memory: -1 }), /'memory'/)
  t.throws(() => new Refresh({ rate: -1 }), /'rate'/)
  t.throws(() => new PredKd({ kind: 'other' as 'softmax' }), /'kind'/)
  t.throws(() => new L2({ include: 'all' as never }), /'include'/)
  t.throws(() => randn([-1]), /shape/)
  t.end()
})
