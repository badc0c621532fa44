/** Selection, masks and masked steps on every device against the CPU's: bits must be the same. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import { DiagonalFisher, Mask, nm, topK } from '../../lib/masks/index.js'
import * as optim from '../../lib/optim/index.js'
import { acceleratorsUnderTest } from '../devices.js'

type Stepper = Pick<optim.AdamW, 'step' | 'setMask'>

const bits = (masks: Mask | Mask[]) =>
  [masks].flat().map((mask) => Buffer.from(mask.bits).toString('hex'))

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`masks on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(23)
    const random = (...shape: number[]) => p.randn(shape, { generator: g })

    t.test('exactly k: every dtype, direction, count, ties, one and many tensors', async (t) => {
      const equal = (name: string, xs: p.Tensor[], options: object) => {
        const one = xs.length === 1
        const take = (list: p.Tensor[]) =>
          one ? topK(list[0] as p.Tensor, options as never) : topK(list, options as never)
        t.same(bits(take(xs.map((x) => x.to(id)))), bits(take(xs)), name)
      }
      const small = random(37, 41)
      for (const dtype of ['float32', 'float64', 'bfloat16', 'int32'] as const) {
        const x = small.mul(30).to(dtype)
        for (const by of ['value', 'magnitude'] as const) {
          for (const largest of [true, false]) {
            for (const k of [0, 1, 700, 37 * 41]) {
              equal(`${dtype} ${by} ${largest} ${k}`, [x], { k, by, largest })
            }
          }
        }
      }
      const zeros = p.tensor([0, -0, 1, -0, 0, -1, 0])
      equal('±0 are ties', [zeros], { k: 3 })
      // Beyond 2^15 entries bounds are sampled; views begin at odd addresses.
      const large = random(60001)
      for (const k of [1, 600, 30000, 59990]) {
        equal(`sampled, ${k}`, [large], { k, by: 'magnitude' })
        equal(`sampled float64, ${k}`, [large.to('float64')], { k, largest: false })
      }
      equal('an odd view', [large.slice(0, 3, 50001)], { k: 777 })
      equal('all equal', [p.full([40000], 2)], { k: 12345 })
      equal('few values', [large.mul(2).to('int32')], { k: 20000, by: 'magnitude' })
      equal('sorted', [large.sort().values], { k: 4000 })
      const list = [random(5), random(20000), random(130, 129), p.zeros([0]), random(9, 1)]
      for (const density of [0, 0.02, 0.5, 1]) {
        equal(`global ${density}`, list, { density, scope: 'global', by: 'magnitude' })
      }
      const many = Array.from({ length: 150 }, () => random(300))
      equal('more tensors than a list holds', many, { density: 0.3, scope: 'global' })
      const strange = large.clone()
      strange.data[51234] = Number.NaN
      t.throws(() => topK(strange.to(id), { k: 5 }), p.NumericalError)
      t.throws(() => topK(strange.to(id), { k: 0 }), p.NumericalError)
    })

    t.test('sorting rows', async (t) => {
      const x = random(5, 700)
      x.data[3] = Number.NaN
      x.data[705] = -0
      x.data[800] = 0
      for (const dtype of ['float32', 'float64', 'bfloat16', 'int32'] as const) {
        const y = x.mul(dtype === 'int32' ? 50 : 1).to(dtype)
        for (const descending of [true, false]) {
          const [a, b] = [y.to(id).sort(-1, descending), y.sort(-1, descending)]
          t.same(a.indices.toArray(), b.indices.toArray(), `${dtype} ${descending} indices`)
          t.same(a.values.toArray(), b.values.toArray(), `${dtype} ${descending} values`)
        }
      }
      const [a, b] = [random(1, 3).expand(9, 3), random(2, 40)]
      t.same(a.to(id).argsort().toArray(), a.argsort().toArray(), 'short rows')
      t.same(b.to(id).topk(7).indices.toArray(), b.topk(7).indices.toArray(), 'the first few')
    })

    t.test('N of M along every axis', async (t) => {
      for (const dtype of ['float32', 'float64', 'bfloat16'] as const) {
        const x = random(8, 24, 20).mul(4).round().to(dtype)
        for (const [n, m, axis] of [
          [2, 4, 2],
          [1, 8, 1],
          [3, 4, 0],
          [0, 4, 2],
          [5, 5, 2],
          [12, 24, 1],
        ] as const) {
          for (const by of ['value', 'magnitude'] as const) {
            const name = `${dtype} ${n}:${m} axis ${axis} ${by}`
            t.same(bits(nm(x.to(id), n, m, axis, { by })), bits(nm(x, n, m, axis, { by })), name)
          }
        }
      }
      t.throws(() => nm(p.full([4, 4], Number.NaN).to(id), 2, 4), p.NumericalError)
    })

    t.test('packing and applying', async (t) => {
      for (const dtype of ['float32', 'float64', 'bfloat16', 'int32', 'uint8'] as const) {
        const x = random(13, 75).round().abs().to(dtype)
        const mask = Mask.fromTensor(x)
        t.same(bits(Mask.fromTensor(x.to(id))), bits(mask), `pack ${dtype}`)
        const y = p.randint(1, 9, [13, 75], { generator: g }).to(dtype)
        const got = mask.apply(y.to(id))
        t.equal(got.device, id)
        t.same(got.toArray(), mask.apply(y).toArray(), `apply ${dtype}`)
      }
      const strange = p.tensor([Number.NaN, 1, -0])
      t.same(bits(Mask.fromTensor(strange.to(id))), bits(Mask.fromTensor(strange)), 'NaN and −0')
    })

    t.test('masked steps: the same parameters, compact state, masks that change', async (t) => {
      const shapes = [[33, 20], [9000], [20000], [7]]
      const starts = shapes.map((s) => random(...s))
      const grads = [0, 1, 2, 3].map(() => shapes.map((s) => random(...s)))
      const masks = [0, 1].map(() =>
        starts.map((x, i) => (i === 3 ? null : topK(random(...x.shape), { density: 0.3 }))),
      )
      masks[0]?.splice(2, 1, topK(starts[2] as p.Tensor, { k: 0 }))
      const kinds: [string, (ps: p.Tensor[]) => Stepper, number][] = [
        ['SGD', (ps) => new optim.SGD(ps, { lr: 0.1, masks: masks[0] as Mask[] }), 1e-6],
        [
          'SGD with momentum',
          (ps) => new optim.SGD(ps, { lr: 0.1, momentum: 0.9, masks: masks[0] as Mask[] }),
          1e-6,
        ],
        ['AdamW', (ps) => new optim.AdamW(ps, { lr: 0.01, masks: masks[0] as Mask[] }), 1e-6],
        [
          'AdamW bf16',
          (ps) =>
            new optim.AdamW(ps, {
              lr: 0.01,
              amsgrad: true,
              stateDtype: 'bfloat16',
              masks: masks[0] as Mask[],
            }),
          1e-4,
        ],
        ['Lion', (ps) => new optim.Lion(ps, { lr: 0.01, masks: masks[0] as Mask[] }), 1e-6],
      ]
      for (const [name, make, tolerance] of kinds) {
        const run = (device: string) => {
          const ps = starts.map((x) => x.clone().to(device))
          const optimizer = make(ps)
          for (const [step, gs] of grads.entries()) {
            const next = step === 2 ? (masks[1] ?? []) : []
            for (const [i, mask] of next.entries()) optimizer.setMask(i, mask)
            optimizer.step(gs.map((x) => x.to(device)))
          }
          return ps.map((x) => x.to('cpu'))
        }
        const [got, expected] = [run(id), run('cpu')]
        for (const [i, x] of expected.entries()) {
          const error = (got[i] as p.Tensor).sub(x).norm().item() / x.norm().item()
          t.ok(error <= tolerance, `${name}, parameter ${i}: ${error}`)
          const never = masks.map((list) => list[i]).reduce((a, b) => (a && b ? a.or(b) : null))
          if (!never) continue
          const off = never.not()
          t.same(
            off.apply(got[i] as p.Tensor).toArray(),
            off.apply(starts[i] as p.Tensor).toArray(),
            `${name}, parameter ${i}: what is off stays`,
          )
        }
      }
      const x = random(100).to(id)
      const half = topK(random(100), { k: 50 })
      const adam = new optim.AdamW([x], { lr: 0.1, masks: [half] })
      const gradient = random(100)
      for (let i = 0; i < 100; i++) if (!half.at(i)) gradient.data[i] = Number.NaN
      t.doesNotThrow(() => adam.step([gradient.to(id)]), 'NaN where the mask is off is not seen')
      const y = x.clone()
      const resumed = new optim.AdamW([y], { lr: 0.1, masks: [half] })
      resumed.loadStateDict(adam.stateDict())
      adam.step([gradient.to(id)])
      resumed.step([gradient.to(id)])
      t.same(y.toArray(), x.toArray(), 'resumes to the same bits')
    })

    t.test('Fisher information', async (t) => {
      const shapes = [[33, 5], [70]]
      const run = (device: string) => {
        const own = new p.Generator(3)
        const make = (...shape: number[]) => p.randn(shape, { generator: own }).to(device)
        const fisher = new DiagonalFisher(
          shapes.map((s) => p.zeros(s).to(device)),
          { decay: 0.9 },
        )
        fisher.update(shapes.map((s) => make(...s)))
        fisher.update(shapes.map((s) => make(6, ...s)))
        return fisher.values
      }
      const [got, expected] = [run(id), run('cpu')]
      for (const [i, x] of expected.entries()) {
        const y = got[i] as p.Tensor
        t.equal(y.device, id)
        const error = y.to('cpu').sub(x).norm().item() / x.norm().item()
        t.ok(error < 1e-6, `tensor ${i}: ${error}`)
      }
    })
  })
}
