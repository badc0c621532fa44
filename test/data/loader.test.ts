import { test } from 'tap'
import {
  type Batch,
  DataLoader,
  gaussianNoise,
  normalize,
  permutePixels,
  randomFlip,
  randomShift,
  shaped,
  type Transform,
} from '../../lib/data/index.js'
import { ArgumentError, Generator, ShapeError, tensor } from '../../lib/index.js'

const data = {
  inputs: Float32Array.from({ length: 10 * 4 }, (_, i) => i),
  labels: Int32Array.from({ length: 10 }, (_, i) => i),
  shape: [4],
}
const labels = (loader: DataLoader) => [...loader].map(({ targets }) => targets.toArray())

test('in order, with and without a last batch that is not full', async (t) => {
  const loader = new DataLoader(data, { batchSize: 4 })
  t.equal(loader.length, 3)
  t.same(labels(loader), [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ])
  t.equal(loader.epoch, 1)
  const whole = new DataLoader(data, { batchSize: 4, dropLast: true })
  t.equal(labels(whole).length, 2)
  const [first] = new DataLoader(data, { batchSize: 2 })
  t.same(first?.inputs.toArray(), [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
  ])
  const none = new DataLoader(
    { ...data, labels: new Int32Array(0), inputs: new Float32Array(0) },
    { batchSize: 3 },
  )
  t.same(labels(none), [])
})

test('shuffling: all examples, another order every epoch, the same for the same seed', async (t) => {
  const make = (seed: number) => new DataLoader(data, { batchSize: 3, shuffle: true, seed })
  const [a, b] = [make(1), make(1)]
  const first = labels(a)
  t.same([...first.flat()].sort(), [...data.labels])
  t.same(labels(b), first)
  const second = labels(a)
  t.notSame(second, first)
  t.same(labels(b), second)
  t.notSame(labels(make(2)), first)
})

test('goes on from any place, transforms too', async (t) => {
  const make = () =>
    new DataLoader(data, {
      batchSize: 3,
      shuffle: true,
      seed: 4,
      transforms: [gaussianNoise(1), randomFlip(), randomShift(1)],
    })
  const run = (loader: DataLoader, count: number) => {
    const seen: unknown[] = []
    while (seen.length < count) {
      for (const batch of loader) {
        seen.push([batch.inputs.toArray(), batch.targets.toArray()])
        if (seen.length === count) break
      }
    }
    return seen
  }
  const whole = run(make(), 11)
  for (const stop of [0, 1, 4, 6]) {
    const before = make()
    run(before, stop)
    const after = make()
    after.loadStateDict(before.stateDict())
    t.same(run(after, 11 - stop), whole.slice(stop), `after ${stop} batches`)
  }
  t.throws(() => make().loadStateDict({ epoch: -1, batch: 0, seed: 0 }), ArgumentError)
  t.throws(() => make().loadStateDict({ epoch: 0, batch: 9, seed: 0 }), ArgumentError)
})

test('transforms', async (t) => {
  const images = tensor([
    [
      [1, 2],
      [3, 4],
    ],
  ])
  const apply = (transform: Transform<Batch>, inputs = images, seed = 1) =>
    transform({ inputs, targets: tensor([0], { dtype: 'int32' }) }, new Generator(seed)).inputs
  t.same(apply(normalize(1, 2)).toArray(), [
    [
      [0, 0.5],
      [1, 1.5],
    ],
  ])
  t.same(apply(shaped(4)).toArray(), [[1, 2, 3, 4]])
  t.same(apply(randomFlip(1)).toArray(), [
    [
      [2, 1],
      [4, 3],
    ],
  ])
  t.same(apply(randomFlip(0)).toArray(), images.toArray())
  // Every shift of at most one pixel, padded with 9.
  const possible = new Set<string>()
  const wide = [9, 9, 9, 9, 9, 1, 2, 9, 9, 3, 4, 9, 9, 9, 9, 9]
  for (const y of [0, 1, 2]) {
    for (const x of [0, 1, 2]) {
      const at = (i: number, j: number) => wide[(y + i) * 4 + x + j] as number
      possible.add(JSON.stringify([at(0, 0), at(0, 1), at(1, 0), at(1, 1)]))
    }
  }
  const seen = new Set<string>()
  for (let seed = 0; seed < 60; seed++) {
    const shifted = JSON.stringify(apply(randomShift(1, 9), images, seed).reshape(-1).toArray())
    t.ok(possible.has(shifted), shifted)
    seen.add(shifted)
  }
  t.ok(seen.size > 6, `${seen.size} different shifts`)
  const permuted = apply(permutePixels(3))
  t.same((permuted.reshape(-1).toArray() as number[]).sort(), [1, 2, 3, 4])
  t.same(apply(permutePixels(3)).toArray(), permuted.toArray())
  t.throws(() => apply(randomFlip(1), tensor([[1, 2, 3]])), ShapeError)
  t.throws(() => randomFlip(2), ArgumentError)
  t.throws(() => new DataLoader(data, { batchSize: 0 }), ArgumentError)
  t.throws(() => new DataLoader(3 as never, { batchSize: 1 }), ArgumentError)
  t.throws(() => new DataLoader(data, { batchSize: 1, transforms: [3 as never] }), ArgumentError)
})
