import { test } from 'tap'
import { type Batch, chosen, Reservoir } from '../../lib/continual/index.js'
import { Generator } from '../../lib/random/index.js'
import { Tensor } from '../../lib/tensor/index.js'

const batchOf = (ids: number[]): Batch => ({
  inputs: Tensor.from({ data: Float32Array.from(ids), shape: [ids.length, 1] }),
  targets: Tensor.from({ data: Int32Array.from(ids), shape: [ids.length] }),
  tasks: Int32Array.from(ids, (id) => id % 3),
})

/** Σ (observed − expected)² / expected. */
const chiSquared = (counts: number[], expected: number) =>
  counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)

test('reservoir: every example that came is kept equally often', (t) => {
  const [items, capacity, rounds] = [40, 8, 3000]
  const counts = new Array<number>(items).fill(0)
  const g = new Generator(11)
  for (let round = 0; round < rounds; round++) {
    const memory = new Reservoir(capacity)
    for (let at = 0; at < items; at += 5)
      memory.offer(batchOf([...Array(5).keys()].map((i) => at + i)), g)
    const kept = memory.sample(capacity, g)
    for (const id of kept?.targets.data ?? []) counts[id] = (counts[id] as number) + 1
  }
  // Chosen without replacement, so the statistic is scaled by (1 − 1/n)/(1 − k/n); 39 degrees of freedom.
  const scaled =
    chiSquared(counts, (rounds * capacity) / items) * ((1 - 1 / items) / (1 - capacity / items))
  t.ok(scaled < 72.05, `χ² ${scaled.toFixed(1)} is below the 0.1 % point of 39 degrees of freedom`)
  t.ok(scaled > 15, `χ² ${scaled.toFixed(1)} is not too good to be true`)
  t.end()
})

test('samples are different, uniform, and carry their rows together', (t) => {
  const g = new Generator(5)
  const counts = new Array<number>(10).fill(0)
  let different = true
  for (let round = 0; round < 4000; round++) {
    const picks = chosen(10, 3, g)
    different &&= new Set(picks).size === 3
    for (const pick of picks) counts[pick] = (counts[pick] as number) + 1
  }
  t.ok(different)
  const scaled = chiSquared(counts, 1200) * (0.9 / 0.7)
  t.ok(scaled < 27.88, `χ² ${scaled.toFixed(1)}`)

  const memory = new Reservoir(4)
  t.equal(memory.sample(2, g), null)
  const logits = Tensor.from({ data: Float32Array.of(0, 1, 10, 11, 20, 21), shape: [3, 2] })
  memory.offer(batchOf([0, 1, 2]), g, logits)
  const all = memory.sample(9, g)
  t.equal(all?.tasks.length, 3, 'no more than there are')
  all?.tasks.forEach((task, row) => {
    const id = all.targets.data[row] as number
    t.equal(task, id % 3)
    t.equal(all.inputs.data[row], id)
    t.equal(all.logits?.data[row * 2 + 1], id * 10 + 1)
  })
  t.end()
})

test('memories are saved whole and refuse what does not fit', (t) => {
  const g = new Generator(1)
  const memory = new Reservoir(4)
  memory.offer(batchOf([3, 4, 5, 6, 7]), g)
  const copy = new Reservoir(4)
  copy.loadState(memory.state())
  const draw = (m: Reservoir) => [...(m.sample(4, new Generator(2))?.targets.data ?? [])]
  t.strictSame(draw(copy), draw(memory))
  t.throws(() => new Reservoir(5).loadState(memory.state()), /a memory of 5/)
  const wide = {
    ...batchOf([1]),
    inputs: Tensor.from({ data: new Float32Array(2), shape: [1, 2] }),
  }
  t.throws(() => memory.offer(wide, g), /inputs/)
  t.end()
})
