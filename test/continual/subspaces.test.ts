import { join } from 'node:path'
import { test } from 'tap'
import {
  type Context,
  CoSO,
  Gpm,
  permuted,
  type Strategy,
  Trainer,
  type TrainerOptions,
} from '../../lib/continual/index.js'
import { AbortError, eye, type Tensor } from '../../lib/index.js'
import { AdamW } from '../../lib/optim/index.js'
import { bitsOf, clusters, small, width } from './tiny.js'

const data = clusters()
const options = (strategies: Strategy[], more: Partial<TrainerOptions> = {}): TrainerOptions => {
  const scenario = permuted(data, { tasks: 3, seed: 1 })
  return {
    scenario,
    model: small(scenario.outputs, { dropout: 0 }),
    strategies,
    epochs: 2,
    batchSize: 20,
    seed: 5,
    ...more,
  }
}

/** The largest share of a task's whole update of a weight that lies in a basis of its inputs. */
class Watch implements Strategy {
  readonly name = 'watch'
  worst = 0
  moved = 0
  #before: Tensor[] = []
  #bases: (Tensor | null)[] = []

  constructor(readonly basisOf: (name: string) => Tensor | null) {}

  beforeExperience(c: Context): void {
    this.#before = c.parameters.map((x) => x.detach().clone().keep())
    this.#bases = c.names.map((name) => this.basisOf(name)?.clone().keep() ?? null)
  }

  afterExperience(c: Context): void {
    for (const [i, x] of c.parameters.entries()) {
      const basis = this.#bases[i]
      if (!basis || x.rank !== 2) continue
      const change = x.detach().sub(this.#before[i] as Tensor)
      const size = change.norm().item()
      this.moved = Math.max(this.moved, size)
      const defect = basis.T.matmul(basis).sub(eye(basis.shape[1] as number))
      this.worst = Math.max(
        this.worst,
        change.matmul(basis).norm().item() / (size || 1),
        defect.norm().item(),
      )
    }
  }
}

test('updates of GPM and CoSO are orthogonal to what is protected, with any optimizer', async (t) => {
  const adam = (model: { parameters(): Tensor[] }) => new AdamW(model.parameters(), { lr: 0.01 })
  for (const optimizer of [undefined, adam]) {
    const more = optimizer ? { optimizer } : {}
    const gpm = new Gpm({ threshold: 0.6 })
    const ofGpm = new Watch((name) => gpm.bases.get(name) ?? null)
    await new Trainer(options([ofGpm, gpm], more)).run()
    t.ok(gpm.bases.size === 2 && (gpm.bases.get('0.weight')?.shape[1] as number) <= width)
    t.ok(ofGpm.moved > 1e-3 && ofGpm.worst < 1e-5, `gpm: ${ofGpm.worst} of ${ofGpm.moved}`)

    const coso = new CoSO({ rank: 4, every: 3, sketch: 12, threshold: 0.5 })
    const ofCoso = new Watch((name) => coso.layers.get(name)?.history ?? null)
    await new Trainer(options([ofCoso, coso], more)).run()
    t.ok((coso.layers.get('0.weight')?.history?.shape[1] as number) > 0)
    t.ok(ofCoso.moved > 1e-3 && ofCoso.worst < 1e-5, `coso: ${ofCoso.worst} of ${ofCoso.moved}`)
  }
})

test('a threshold of 0 protects nothing: GPM equals the base to the bit', async (t) => {
  const plain = new Trainer(options([]))
  await plain.run()
  const none = new Trainer(options([new Gpm({ threshold: 0, increment: 0 })]))
  await none.run()
  t.same(bitsOf(none.context.model), bitsOf(plain.context.model))
})

test('both learn, and go on to the same bits from the middle of a task', async (t) => {
  const folder = t.testdir()
  for (const make of [() => new Gpm({ threshold: 0.6 }), () => new CoSO({ rank: 4, every: 3 })]) {
    const whole = new Trainer(options([make()], { epochs: 4 }))
    const result = await whole.run()
    t.ok((result.matrix[0]?.[0] as number) > 0.6, `learns: ${result.matrix[0]?.[0]}`)
    const path = join(folder, 'state')
    const first = new Trainer(options([make()], { epochs: 4 }))
    const controller = new AbortController()
    const onStep = ({ step }: { step: number }) => {
      if (step === 61) controller.abort()
    }
    await t.rejects(first.run({ signal: controller.signal, onStep }), AbortError)
    first.save(path)
    const second = new Trainer(options([make()], { epochs: 4 }))
    second.load(path)
    await second.run()
    t.same(bitsOf(second.context.model), bitsOf(whole.context.model))
  }
})
