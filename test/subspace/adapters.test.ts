import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import {
  ArgumentError,
  FormatError,
  Generator,
  NumericalError,
  randn,
  Tensor,
} from '../../lib/index.js'
import { loadSafetensors } from '../../lib/io/index.js'
import { svd } from '../../lib/linalg/index.js'
import * as nn from '../../lib/nn/index.js'
import { SGD } from '../../lib/optim/index.js'
import {
  type Adapters,
  loadAdapters,
  lora,
  pissa,
  pissaStart,
  saveAdapters,
} from '../../lib/subspace/index.js'
import { wave } from '../fixtures.js'

const make = () => {
  const generator = new Generator(4)
  return new nn.Sequential(
    new nn.Conv2d(2, 6, 3, { padding: 1, generator }),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(6 * 25, 20, { activation: 'relu', generator }),
    new nn.Linear(20, 7, { generator }),
  )
}
const x = randn([3, 2, 5, 5], { generator: new Generator(9) })
const all = { targets: () => true } as const
const near = (a: Tensor, b: Tensor) => a.sub(b).norm().item() / b.norm().item()
const methods: Record<string, (model: nn.Module) => Adapters> = {
  lora: (model) => lora(model, { ...all, rank: 3, alpha: 6 }),
  pissa: (model) => pissa(model, { ...all, rank: 3, alpha: 6 }),
  'pissa niter': (model) => pissa(model, { ...all, rank: 3, niter: 4 }),
}

function train(model: nn.Module, adapters: Adapters, steps = 5): void {
  const opt = new SGD(adapters.parameters(), { lr: 0.05 })
  for (let i = 0; i < steps; i++) {
    opt.zeroGrad()
    model.call(x).square().mean().backward()
    opt.step()
  }
}

for (const [name, attach] of Object.entries(methods)) {
  test(`${name}: outputs are the same at the start, only A and B learn, merge and unmerge`, async (t) => {
    const model = make()
    const before = model.call(x).detach().clone()
    const adapters = attach(model)
    t.equal(adapters.layers.length, 3)
    t.ok(near(model.call(x), before) < 1e-5)
    const weights = adapters.layers.map(({ layer }) => layer.weight.detach().clone())
    train(model, adapters)
    t.ok(near(model.call(x), before) > 1e-3, 'learned')
    for (const [i, { layer, adapter }] of adapters.layers.entries()) {
      t.same(layer.weight.data, weights[i]?.data, 'the weight stays')
      t.equal(layer.weight.grad, null)
      t.ok(adapter.loraA.grad && adapter.loraB.grad)
    }
    const trained = model.call(x).detach().clone()
    adapters.merge()
    t.ok(near(model.call(x), trained) < 1e-5)
    adapters.unmerge()
    t.ok(near(model.call(x), trained) < 1e-5)
    adapters.merge()
    adapters.detach()
    t.ok(near(model.call(x), trained) < 1e-5)
    t.notOk(model.namedParameters().some(([path]) => path.includes('lora')))
    t.ok(model.parameters().every((p) => p.requiresGrad))
  })

  test(`${name}: there and back through peft's files`, async (t) => {
    const folder = t.testdir()
    const model = make()
    const adapters = attach(model)
    train(model, adapters)
    const trained = model.call(x).detach().clone()
    saveAdapters(adapters, folder)
    const other = make()
    const loaded = loadAdapters(other, folder)
    t.ok(near(other.call(x), trained) < 1e-5)
    t.equal(loaded.method, adapters.method)
    const tensors = loadSafetensors(join(folder, 'adapter_model.safetensors'))
    t.same(tensors['base_model.model.0.lora_A.weight']?.shape, [3, 2, 3, 3])
    t.same(tensors['base_model.model.0.lora_B.weight']?.shape, [6, 3, 1, 1])
    t.same(tensors['base_model.model.3.lora_A.weight']?.shape, [3, 150])
    if (name !== 'lora') {
      saveAdapters(adapters, folder, { asLora: true })
      const third = make()
      t.equal(loadAdapters(third, folder).rank, 6)
      t.ok(near(third.call(x), trained) < 1e-4, 'as a LoRA of the original weights')
    } else {
      t.throws(() => saveAdapters(adapters, folder, { asLora: true }), ArgumentError)
    }
  })
}

test('a gradient check of the direct path against the replaced weight', async (t) => {
  const generator = new Generator(2)
  const layer = new nn.Linear(6, 5, { generator })
  const input = randn([4, 6], { generator })
  const adapters = lora(new nn.Sequential(layer), { rank: 2, alpha: 3, generator })
  const { adapter } = adapters.layers[0] as (typeof adapters.layers)[0]
  adapter.loraB.copy_(randn([5, 2], { generator }))
  layer.forward(input).square().sum().backward()
  const [a, b] = [adapter.loraA.grad?.clone(), adapter.loraB.grad?.clone()]
  adapter.zeroGrad()
  const weight = layer.weight.add(adapter.delta(layer.weight.shape))
  nn.linear(input, weight, layer.bias).square().sum().backward()
  t.ok(near(a as Tensor, adapter.loraA.grad as Tensor) < 1e-5)
  t.ok(near(b as Tensor, adapter.loraB.grad as Tensor) < 1e-5)
})

test('pissa equals peft up to sign', async (t) => {
  const { cases } = JSON.parse(
    readFileSync(new URL('../../../test/fixtures/pissa.json', import.meta.url), 'utf8'),
  ) as {
    cases: {
      out: number
      in: number
      rank: number
      alpha: number
      a: number[]
      b: number[]
      residual: number[]
    }[]
  }
  for (const c of cases) {
    const weight = Tensor.from({ data: wave(c.out * c.in, 7), shape: [c.out, c.in] })
    const { a, b, base } = pissaStart(weight, { rank: c.rank, scale: c.alpha / c.rank })
    t.ok(base.data.every((v, i) => Math.abs(v - (c.residual[i] as number)) < 2e-6))
    for (let k = 0; k < c.rank; k++) {
      const ours = [...a.select(0, k).clone().data, ...b.select(1, k).clone().data] as number[]
      const theirs = [
        ...c.a.slice(k * c.in, (k + 1) * c.in),
        ...Array.from({ length: c.out }, (_, i) => c.b[i * c.rank + k] as number),
      ]
      const sign = Math.sign(ours.reduce((sum, v, i) => sum + v * (theirs[i] as number), 0))
      t.ok(
        ours.every((v, i) => Math.abs(v - sign * (theirs[i] as number)) < 1e-5),
        `vector ${k}`,
      )
    }
  }
})

test('pissa: residual and adapter are the weight; the residual lacks the leading singular values', async (t) => {
  const weight = randn([40, 25], { generator: new Generator(1) })
  const s = svd(weight).s
  for (const niter of [undefined, 8]) {
    const { a, b, base } = pissaStart(weight, { rank: 4, scale: 0.5, ...(niter ? { niter } : {}) })
    t.ok(near(base.add(b.matmul(a).mul(0.5)), weight) < 1e-6)
    const rest = svd(base).s
    t.ok(Math.abs(rest.data[0] as number) < (s.data[4] as number) * (niter ? 1.05 : 1 + 1e-5))
  }
})

test('wrong input gets its typed error and leaves the model alone', async (t) => {
  const model = make()
  t.throws(() => lora(model, { rank: 8 }), /at most 7 for 'rank' at layer '4'/)
  t.throws(() => lora(model, { rank: 0 }), ArgumentError)
  t.throws(() => lora(model, { rank: 2, targets: ['nowhere'] }), /targets/)
  const [, layer] = [...model.namedModules()].find(([name]) => name === '4') as [string, nn.Linear]
  layer.weight.data[0] = NaN
  t.throws(() => pissa(model, { rank: 2 }), NumericalError)
  t.ok(model.parameters().every((p) => p.requiresGrad))
  lora(model, { rank: 2 })
  t.throws(() => lora(model, { rank: 2 }), /already/)
  const folder = t.testdir()
  const fresh = make()
  saveAdapters(lora(make(), { rank: 2 }), folder)
  writeFileSync(join(folder, 'adapter_config.json'), '{')
  t.throws(() => loadAdapters(fresh, folder), FormatError)
  writeFileSync(
    join(folder, 'adapter_config.json'),
    '{"peft_type":"LORA","r":3,"lora_alpha":3,"target_modules":["3"]}',
  )
  t.throws(() => loadAdapters(fresh, folder), /has shape \[2, 150\], expected \[3, 150\]/)
  t.ok(fresh.parameters().every((p) => p.requiresGrad))
})
