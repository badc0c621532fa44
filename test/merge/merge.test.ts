import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import { merge as command } from '../../lib/cli/merge.js'
import {
  AbortError,
  ArgumentError,
  FormatError,
  Generator,
  randn,
  ShapeError,
  Tensor,
  zeros,
} from '../../lib/index.js'
import { loadSafetensors, saveSafetensors } from '../../lib/io/index.js'
import { svd } from '../../lib/linalg/index.js'
import {
  average,
  type MergeMethod,
  mergeCheckpoints,
  opcm,
  projectedTask,
  taskArithmetic,
  ties,
} from '../../lib/merge/index.js'

const shapes: Record<string, number[]> = {
  'a.weight': [12, 9],
  'a.bias': [12],
  'tok_emb.weight': [7, 5],
  s: [],
}
const folder = tap.testdir()
const paths = ['base', 'one', 'two', 'three'].map((name) => join(folder, `${name}.safetensors`))
const [base, ...models] = paths as [string, string, string, string]
const make = (seed: number, scale: number) => {
  const generator = new Generator(seed)
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, randn(shape, { generator }).mul(scale)]),
  )
}
const origin = make(1, 1)
const values = [2, 3, 4].map((seed) => {
  const delta = make(seed, 0.1)
  return Object.fromEntries(
    Object.entries(origin).map(([name, x]) => [name, x.add(delta[name] as Tensor)]),
  )
})
const step = Tensor.from({ data: Int32Array.of(7), shape: [1] })
saveSafetensors(base, { ...origin, step })
values.forEach((x, i) => {
  saveSafetensors(models[i] as string, { ...x, step })
})
const out = join(folder, 'out.safetensors')
const run = (method: MergeMethod, list: readonly string[] = models) => {
  const result = mergeCheckpoints({ models: list, base, out, method })
  return { ...result, state: loadSafetensors(out) }
}
const numbers = (x: Tensor | undefined): number[] => [...(x as Tensor).clone().data]
const near = (t: Test, got: Tensor | undefined, expected: number[], tolerance = 2e-6) =>
  t.ok(numbers(got).every((v, i) => Math.abs(v - (expected[i] as number)) <= tolerance))
/** Task vectors of a tensor, in float64. */
const tasks = (name: string) =>
  values.map((state) => {
    const from = numbers(origin[name])
    return numbers(state[name]).map((v, i) => Math.fround(v - (from[i] as number)))
  })

test('average and task arithmetic are their formulas; other tensors come from the first', async (t) => {
  const mean = run(average()).state
  const sum = run(taskArithmetic({ scale: 0.4 })).state
  for (const name of Object.keys(shapes)) {
    const from = numbers(origin[name])
    const delta = tasks(name)
    near(
      t,
      mean[name],
      from.map((b, i) => b + delta.reduce((s, d) => s + (d[i] as number), 0) / 3),
    )
    near(
      t,
      sum[name],
      from.map((b, i) => b + 0.4 * delta.reduce((s, d) => s + (d[i] as number), 0)),
    )
  }
  t.same(mean['step']?.data, step.data)
  t.same(readdirSync(folder).length, 5, 'nothing else is left')
})

test('ties is trim, elect, disjoint mean over whole vectors', async (t) => {
  for (const density of [0.05, 0.2, 1]) {
    const { state } = run(ties({ density, scale: 0.7 }))
    const names = Object.keys(origin)
    const flat = values.map((_, m) => names.flatMap((name) => tasks(name)[m] as number[]))
    const trimmed = flat.map((all) => {
      const k = Math.max(1, Math.round(density * all.length))
      const limit = all.map(Math.abs).sort((a, b) => b - a)[k - 1] as number
      return all.map((v) => (Math.abs(v) >= limit ? v : 0))
    })
    const merged = (trimmed[0] as number[]).map((_, i) => {
      const column = trimmed.map((all) => all[i] as number)
      const sign = Math.sign(column.reduce((a, b) => a + b, 0))
      const chosen = column.filter((v) => v !== 0 && Math.sign(v) === sign)
      return chosen.length ? (0.7 * chosen.reduce((a, b) => a + b, 0)) / chosen.length : 0
    })
    let at = 0
    for (const name of names) {
      const from = numbers(origin[name])
      near(
        t,
        state[name],
        from.map((b) => b + (merged[at++] as number)),
      )
    }
  }
})

test('ties keeps exactly what reaches the k-th magnitude, whatever its sample of rows shows', async (t) => {
  const [from, to] = ['zero', 'large'].map((name) => join(folder, `${name}.safetensors`)) as [
    string,
    string,
  ]
  const size = [600, 500]
  // Alike everywhere; rows of scales that a few rows do not tell; equal numbers.
  const fills = [
    (x: number) => x,
    (x: number, row: number) => x * 2 ** (row % 13),
    (x: number) => Math.round(x * 4) / 4,
  ]
  saveSafetensors(from, { w: zeros(size), v: zeros([3000]) })
  for (const fill of fills) {
    const w = randn(size, { generator: new Generator(3) })
    const v = randn([3000], { generator: new Generator(4) })
    const values = w.data
    for (let i = 0; i < values.length; i++) {
      values[i] = fill(values[i] as number, Math.floor(i / 500))
    }
    saveSafetensors(to, { w, v })
    const magnitudes = new Float32Array(w.size + v.size)
    magnitudes.set(values.map(Math.abs))
    magnitudes.set(v.data.map(Math.abs), w.size)
    magnitudes.sort()
    for (const density of [0.001, 0.2, 0.9]) {
      mergeCheckpoints({ models: [to], base: from, out, method: ties({ density }) })
      const merged = loadSafetensors(out)
      const kept = Math.round(density * magnitudes.length)
      const limit = magnitudes[magnitudes.length - kept] as number
      for (const [name, x] of [['w', w] as const, ['v', v] as const]) {
        const [before, after] = [x.data, merged[name]?.data]
        t.notOk(before.some((y, i) => after?.[i] !== (Math.abs(y) >= limit ? y : 0)))
      }
    }
  }
  for (const path of [from, to]) rmSync(path)
})

test('opcm: projection, norm law, repeated model', async (t) => {
  const generator = new Generator(8)
  const merged = randn([10, 6], { generator, dtype: 'float64' })
  const task = randn([10, 6], { generator, dtype: 'float64' })
  const cleaned = projectedTask(merged, task, 0.5)
  t.ok(Math.abs(cleaned.mul(merged).sum().item()) < 1e-12, 'orthogonal to the merged vector')
  const { u, s, vt } = svd(merged)
  const p = u.T.matmul(cleaned).matmul(vt.T)
  const plain = u.T.matmul(task).matmul(vt.T)
  let split = 0
  const total = s.sum().item()
  for (let sum = 0; (sum += s.data[split] as number) <= 0.5 * total; ) split++
  t.ok(split > 0)
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 6; j++) {
      const gone = i === j || (i < split && j < split)
      const expected = gone ? 0 : (plain.data[i * 6 + j] as number)
      t.ok(Math.abs((p.data[i * 6 + j] as number) - expected) < 1e-12)
    }
  }
  t.ok(
    projectedTask(merged, merged.mul(3), 0.5).norm().item() < 1e-12,
    'the same direction adds nothing',
  )

  const norm = (state: Record<string, Tensor>) =>
    Math.hypot(
      ...Object.keys(origin).flatMap((name) => {
        const from = numbers(origin[name])
        return numbers(state[name]).map((v, i) => v - (from[i] as number))
      }),
    )
  const mean = values.reduce((sum, state) => sum + norm(state) / 3, 0)
  const result = run(opcm())
  t.ok(Math.abs(norm(result.state) - mean) < 1e-4 * mean)
  t.ok(1 / result.factor > 1 && 1 / result.factor < 3, 'λ near √3')
  // The official, sequential form on one linear weight.
  let vector: Tensor | null = null
  let lambda = 1
  let averageNorm = 0
  const others = (name: string) => tasks(name)
  for (let m = 0; m < 3; m++) {
    const delta = Tensor.from({
      data: Float64Array.from(others('a.weight')[m] as number[]),
      shape: [12, 9],
    })
    averageNorm += norm(values[m] as Record<string, Tensor>) / 3
    const clean: Tensor = vector ? projectedTask(vector, delta, 0.5) : delta
    // Any λ serves in between: the next projection does not depend on it.
    const next: number = Math.sqrt(m + 1)
    vector = (vector ? vector.mul(lambda).add(clean) : clean).div(next)
    lambda = next
  }
  const expected = (vector as Tensor).mul(lambda * result.factor)
  const from = numbers(origin['a.weight'])
  near(
    t,
    result.state['a.weight'],
    numbers(expected).map((v, i) => v + (from[i] as number)),
    1e-5,
  )
  t.ok(averageNorm > 0)
  const twice = run(opcm(), [models[0] as string, models[0] as string]).state['a.weight'] as Tensor
  const once = run(opcm(), [models[0] as string]).state['a.weight'] as Tensor
  const [d1, d2] = [once.sub(origin['a.weight'] as Tensor), twice.sub(origin['a.weight'] as Tensor)]
  const cosine = d1.mul(d2).sum().item() / (d1.norm().item() * d2.norm().item())
  t.ok(cosine > 1 - 1e-5, 'merging a model twice changes only the scale')
})

test('large tensors in pieces give what they give whole', async (t) => {
  const big = [3, 4].map((seed) => randn([3000, 1500], { generator: new Generator(seed) }))
  const files = big.map((x, i) => {
    const path = join(folder, `big${i}.safetensors`)
    saveSafetensors(path, { w: x })
    return path
  })
  mergeCheckpoints({ models: files, out, method: average() })
  const expected = (big[0] as Tensor).add(big[1] as Tensor).mul(0.5)
  t.ok((loadSafetensors(out)['w'] as Tensor).sub(expected).norm().item() < 1e-3)
  for (const path of files) rmSync(path)
})

test('wrong input gets its typed error, and nothing is written', async (t) => {
  rmSync(out, { force: true })
  const attempt = (options: object) => () =>
    mergeCheckpoints({ models, base, out, method: average(), ...options })
  t.throws(attempt({ models: [] }), ArgumentError)
  t.throws(() => mergeCheckpoints({ models, out, method: opcm() }), /needs a base/)
  t.throws(attempt({ out: models[0] }), ArgumentError)
  const other = join(folder, 'other.safetensors')
  saveSafetensors(other, { ...values[0], step, extra: step })
  t.throws(attempt({ models: [models[0], other] }), FormatError)
  saveSafetensors(other, { ...values[0], step, 'a.bias': randn([3]) })
  t.throws(attempt({ models: [models[0], other] }), ShapeError)
  writeFileSync(other, 'garbage')
  t.throws(attempt({ models: [models[0], other] }), FormatError)
  rmSync(other)
  const nan = { ...values[0], step, 'a.weight': randn([12, 9]).mul(Number.NaN) }
  const bad = join(folder, 'nan.safetensors')
  saveSafetensors(bad, nan as Record<string, Tensor>)
  t.throws(attempt({ models: [bad, models[1]], method: opcm() }), { code: 'NUMERICAL' })
  rmSync(bad)
  const aborted = AbortSignal.abort()
  t.throws(attempt({ signal: aborted }), AbortError)
  t.throws(() => command([...models], { out, method: 'mean' }), ArgumentError)
  t.throws(() => command([...models], { out, method: 'average', scale: '2' }), /takes no '--scale'/)
  t.notOk(existsSync(out))
  t.equal(readdirSync(folder).length, 4)
})
