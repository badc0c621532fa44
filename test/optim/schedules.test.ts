import fc from 'fast-check'
import { test } from 'tap'
import { ArgumentError } from '../../lib/index.js'
import { NorMuon, type Schedule, Scheduler, SGD, schedules } from '../../lib/optim/index.js'
import { wave } from '../fixtures.js'

const { constant, cosine, cosineRestarts, exponential, inverseSqrt, linear, milestones } = schedules
const { oneCycle, polynomial, sequence, times, warmup, warmupStableDecay } = schedules

const near = (a: number, b: number) => Math.abs(a - b) < 1e-12
const values = (schedule: Schedule, n: number) => Array.from({ length: n }, (_, i) => schedule(i))

test('each schedule has its formula’s values', async (t) => {
  t.same(values(constant(0.5), 2), [0.5, 0.5])
  t.same(values(linear(4), 6), [1, 0.75, 0.5, 0.25, 0, 0])
  t.ok(near(cosine(10, { final: 0.1 })(5), 0.55) && near(cosine(10, { final: 0.1 })(99), 0.1))
  t.same(
    values(cosineRestarts(2, { factor: 2 }), 6).map((x) => +x.toFixed(6)),
    [1, 0.5, 1, 0.853553, 0.5, 0.146447],
  )
  t.ok(near(polynomial(4, { power: 2 })(2), 0.25))
  t.same(values(exponential(0.5, { every: 2 }), 4), [1, 1, 0.5, 0.5])
  t.same(values(milestones([1, 3], { gamma: 0.5 }), 4), [1, 0.5, 0.5, 0.25])
  t.ok(near(inverseSqrt(100)(300), 0.5))
  t.same(values(warmup(3, constant(2)), 5), [0.5, 1, 1.5, 2, 2])
  const wsd = values(warmupStableDecay({ warmup: 1, stable: 2, decay: 2 }), 7)
  t.same(wsd, [0.5, 1, 1, 1, 0.5, 0, 0])
  t.ok(near(warmupStableDecay({ warmup: 0, stable: 0, decay: 4, shape: '1-sqrt' })(1), 0.5))
  t.ok(near(warmupStableDecay({ warmup: 0, stable: 0, decay: 4, shape: 'cosine' })(2), 0.5))
  t.ok(near(oneCycle(10, { peak: 0.5 })(5), 1))
  t.same(values(sequence([[constant(1), 2], [linear(2)]]), 5), [1, 1, 1, 0.5, 0])
  t.same(values(times(linear(2), constant(3)), 3), [3, 1.5, 0])
})

test('any schedule stays in [0, 1], and warm-ups rise to where the next begins', async () => {
  const step = fc.integer({ min: 0, max: 1000 })
  fc.assert(
    fc.property(step, step, step, step, (up, stable, decay, at) => {
      const schedule = warmupStableDecay({ warmup: up, stable, decay })
      const x = schedule(at)
      const rises = at + 1 > up || schedule(at + 1) > x
      return x >= 0 && x <= 1 && rises && near(schedule(up), decay + stable > 0 ? 1 : 0)
    }),
  )
})

const matrix = (seed: number) => ({ data: wave(20, seed), shape: [4, 5] })

test('the scheduler sets options step by step, and goes on from what was saved', async (t) => {
  const make = () => {
    const optimizer = new SGD([
      { params: [matrix(1)], lr: 0.1 },
      { params: [matrix(2)], lr: 1, momentum: 0.5 },
    ])
    return { optimizer, scheduler: new Scheduler(optimizer, warmup(1, linear(4))) }
  }
  const a = make()
  const rates = () => a.optimizer.paramGroups.map(({ lr }) => lr)
  t.same(rates(), [0.05, 0.5])
  a.scheduler.step()
  t.same(rates(), [0.1, 1])
  a.scheduler.step()
  t.ok(near(rates()[0] as number, 0.075))
  const b = make()
  b.scheduler.step()
  b.scheduler.loadStateDict(structuredClone(a.scheduler.stateDict()))
  t.same(b.optimizer.paramGroups[1]?.lr, a.optimizer.paramGroups[1]?.lr)
  t.equal(b.scheduler.stepCount, 2)
  const mixed = new NorMuon([{ params: [matrix(1)] }, { params: [matrix(2)], algorithm: 'adamw' }])
  new Scheduler(mixed, { lr: [constant(2), constant(3)], weightDecay: constant(0) })
  t.same(
    mixed.paramGroups.map(({ lr, weightDecay }) => [lr, weightDecay]),
    [
      [2e-3, 0],
      [3e-3, 0],
    ],
  )
})

test('wrong input', async (t) => {
  const sgd = new SGD([matrix(1)])
  t.throws(() => linear(-1), ArgumentError)
  t.throws(() => warmup(2, 3 as never), ArgumentError)
  t.throws(() => sequence([]), ArgumentError)
  t.throws(() => sequence([[constant()], [constant()]]), ArgumentError)
  t.throws(() => times(1 as never), ArgumentError)
  t.throws(
    () => warmupStableDecay({ warmup: 1, stable: 1, decay: 1, shape: 'flat' as never }),
    ArgumentError,
  )
  t.throws(() => new Scheduler({} as never, constant()), ArgumentError)
  t.throws(() => new Scheduler(sgd, [constant(), constant()]), ArgumentError)
  t.throws(() => new Scheduler(sgd, { rate: constant() }), ArgumentError)
  t.throws(() => new Scheduler(sgd, null as never), ArgumentError)
  const scheduler = new Scheduler(sgd, constant())
  t.throws(() => scheduler.loadStateDict({ step: 1, base: {} }), ArgumentError)
  t.throws(() => scheduler.loadStateDict({ step: -1, base: { lr: [1] } }), ArgumentError)
})
