import { test } from 'tap'
import { Psmt } from '../../lib/adapt/index.js'
import { corrupt, corruptions, type Dataset } from '../../lib/data/index.js'
import { ArgumentError, Generator, randn, type Tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'

const make = () =>
  new nn.Sequential(new nn.Linear(6, 8, { activation: 'tanh' }), new nn.Linear(8, 3))
const model = () => {
  const generator = new Generator(1)
  return new nn.Sequential(
    new nn.Linear(6, 8, { activation: 'tanh', generator }),
    new nn.Linear(8, 3, { generator }),
  )
}
const inputs = randn([16, 6], { generator: new Generator(2) })
const values = (m: nn.Module) => m.parameters().map((x) => Array.from(x.clone().data))

test('quantile 0 restores nothing, 1 restores all', async (t) => {
  const none = new Psmt(model(), make, { quantile: 0, lr: 0.1, ema: 0.5 })
  const step = none.adapt(inputs)
  t.ok(step.restored.every((mask) => mask.count() === 0))
  t.notSame(values(none.student), values(none.source))
  const all = new Psmt(model(), make, { quantile: 1, lr: 0.1, ema: 0.5 })
  all.adapt(inputs)
  t.same(values(all.student), values(all.source))
  t.same(values(all.teacher), values(all.source))
})

test('an EMA weight of 1 leaves the teacher; the selective average in float64', async (t) => {
  const still = new Psmt(model(), make, { ema: 1, lr: 0.1 })
  still.adapt(inputs)
  t.same(values(still.teacher), values(still.source))
  t.notSame(values(still.student), values(still.source))
  const psmt = new Psmt(model(), make, { ema: 0.9, lr: 0.1, quantile: 0.3 })
  psmt.adapt(inputs)
  const before = values(psmt.teacher)
  const { restored } = psmt.adapt(inputs)
  const [student, source] = [values(psmt.student), values(psmt.source)]
  let count = 0
  values(psmt.teacher).forEach((list, i) => {
    const chosen = restored[i]?.toTensor().data as Uint8Array
    list.forEach((x, j) => {
      const own = student[i]?.[j] as number
      if (chosen[j]) {
        t.equal(own, source[i]?.[j])
        t.equal(x, own)
        count++
      } else {
        t.ok(Math.abs(x - (0.9 * (before[i]?.[j] as number) + 0.1 * own)) < 1e-6)
      }
    })
  })
  t.equal(count, Math.floor(0.3 * (56 + 27)))
})

test('the penalty holds the student near the source; views are averaged when the source is unsure', async (t) => {
  const distance = (lambda: number) => {
    const psmt = new Psmt(model(), make, { lambda, lr: 0.02, quantile: 0, confidence: 0 })
    psmt.measureSource([inputs])
    for (let i = 0; i < 20; i++) t.notOk(psmt.adapt(inputs).averaged)
    return Math.hypot(
      ...values(psmt.student)
        .flat()
        .map((x, i) => x - (values(psmt.source).flat()[i] as number)),
    )
  }
  t.ok(distance(50) < 0.9 * distance(0))
  let views = 0
  const augment = (x: Tensor) => {
    views++
    return x.mul(1.01)
  }
  const unsure = new Psmt(model(), make, { confidence: 1, views: 4, augment })
  t.ok(unsure.adapt(inputs).averaged)
  t.equal(views, 5)
  t.throws(() => new Psmt(model(), make, { quantile: 2 }), ArgumentError)
  t.throws(() => new Psmt(model(), make, { views: 0 }), ArgumentError)
})

test('corruptions: worse with severity, seeded, of the same shape and labels', async (t) => {
  const data: Dataset = {
    inputs: Float32Array.from(
      { length: 2 * 144 },
      (_, i) => ((i % 12) - 5) ** 2 + (i > 143 ? i % 7 : 0),
    ),
    labels: Int32Array.of(3, 4),
    shape: [12, 12],
  }
  for (const kind of corruptions) {
    const away = [1, 3, 5].map((severity) => {
      const { inputs: x, labels, shape } = corrupt(data, kind, severity, 7)
      t.same([...labels, ...shape], [3, 4, 12, 12])
      return Math.hypot(...x.map((v, i) => v - (data.inputs[i] as number)))
    })
    t.ok((away[0] as number) > 0 && (away[1] as number) > (away[0] as number), kind)
    t.ok((away[2] as number) > (away[1] as number), kind)
  }
  t.same(corrupt(data, 'noise', 2, 1).inputs, corrupt(data, 'noise', 2, 1).inputs)
  t.notSame(corrupt(data, 'noise', 2, 1).inputs, corrupt(data, 'noise', 2, 2).inputs)
  t.throws(() => corrupt(data, 'fog' as 'noise'), ArgumentError)
  t.throws(() => corrupt(data, 'blur', 6), ArgumentError)
})
