import { test } from 'tap'
import { distillation, QuadraticPenalty } from '../../lib/continual/index.js'
import { grad, randn, type Tensor, zerosLike } from '../../lib/index.js'
import { Generator } from '../../lib/random/index.js'

const g = new Generator(4)
const draw = (...shape: number[]) => randn(shape, { generator: g })
const positive = (...shape: number[]) => draw(...shape).square()
const numbers = (x: Tensor) => Array.from(x.clone().data)

test('the slope is λF(θ − θ*), zero at θ*, and that of the value', (t) => {
  const x = draw(5, 3).requireGrad()
  const penalty = new QuadraticPenalty()
  const f = positive(5, 3)
  penalty.renew([x], [f], 1)
  x.grad = zerosLike(x)
  penalty.addGradient([x], 7)
  t.ok(numbers(x.grad).every((v) => v === 0))
  t.equal(penalty.value([x], 7), 0)
  const anchor = numbers(x)
  x.copy_(draw(5, 3))
  penalty.addGradient([x], 7)
  numbers(x.grad).forEach((slope, i) => {
    const exact =
      7 * (numbers(f)[i] as number) * ((numbers(x)[i] as number) - (anchor[i] as number))
    if (Math.abs(slope - exact) > 1e-5 * (1 + Math.abs(exact))) t.fail(`${slope} ${exact}`)
  })
  const exact = numbers(f).reduce(
    (sum, w, i) => sum + 3.5 * w * ((numbers(x)[i] as number) - (anchor[i] as number)) ** 2,
    0,
  )
  t.ok(Math.abs(penalty.value([x], 7) - exact) < 1e-5 * exact)
  t.end()
})

test('terms kept as one have the slope of their sum; nothing holds what no term weighs', (t) => {
  const x = draw(40).requireGrad()
  const penalty = new QuadraticPenalty()
  const terms = Array.from({ length: 5 }, () => {
    const f = positive(40)
    f.data[3] = 0
    x.copy_(draw(40))
    penalty.extend([x], [f])
    return { f: numbers(f), at: numbers(x) }
  })
  x.copy_(draw(40))
  x.grad = zerosLike(x)
  penalty.addGradient([x], 2)
  const slopes = numbers(x.grad)
  slopes.forEach((slope, i) => {
    const exact = terms.reduce(
      (sum, { f, at }) =>
        sum + 2 * (f[i] as number) * ((numbers(x)[i] as number) - (at[i] as number)),
      0,
    )
    if (Math.abs(slope - exact) > 1e-4 * (1 + Math.abs(exact))) t.fail(`${i}: ${slope} ${exact}`)
  })
  t.equal(slopes[3], 0)
  t.end()
})

test('online: F fades by the decay, the anchor is the last', (t) => {
  const x = draw(8)
  const penalty = new QuadraticPenalty()
  const [a, b] = [positive(8), positive(8)]
  penalty.renew([x], [a], 0.5)
  x.copy_(draw(8))
  penalty.renew([x], [b], 0.5)
  numbers(penalty.importance[0] as Tensor).forEach((f, i) => {
    const exact = 0.5 * (numbers(a)[i] as number) + (numbers(b)[i] as number)
    if (Math.abs(f - exact) > 1e-6 * exact) t.fail(`${f} ${exact}`)
  })
  t.strictSame(numbers(penalty.anchor[0] as Tensor), numbers(x))
  const copy = new QuadraticPenalty()
  copy.loadState(penalty.state())
  t.equal(copy.value([a], 1), penalty.value([a], 1))
  t.end()
})

test('distillation: zero at equal outputs, else T²·KL, with the slope of float64 differences', (t) => {
  const [n, outputs, temperature] = [4, 5, 2]
  const heads = [
    [0, 2],
    [2, 5],
  ] as const
  const old = randn([n, outputs], { generator: g, dtype: 'float64' })
  const x = randn([n, outputs], { generator: g, dtype: 'float64' }).requireGrad()
  t.ok(Math.abs(distillation(old, old, heads, temperature).item()) < 1e-12)
  const exact = (logits: number[]) => {
    let sum = 0
    for (let row = 0; row < n; row++) {
      for (const [from, to] of heads) {
        const soft = (values: number[]) => {
          const e = values
            .slice(row * outputs + from, row * outputs + to)
            .map((v) => Math.exp(v / temperature))
          const total = e.reduce((a, b) => a + b)
          return e.map((v) => v / total)
        }
        const [p, q] = [soft(numbers(old)), soft(logits)]
        sum += p.reduce((s, v, i) => s + v * Math.log(v / (q[i] as number)), 0)
      }
    }
    return (temperature ** 2 * sum) / n
  }
  const loss = distillation(x, old, heads, temperature)
  t.ok(Math.abs(loss.item() - exact(numbers(x))) < 1e-12)
  const [slope] = grad(loss, [x]) as [Tensor]
  numbers(slope).forEach((s, i) => {
    const moved = (by: number) => exact(numbers(x).map((v, j) => (i === j ? v + by : v)))
    const difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    if (Math.abs(s - difference) > 1e-8) t.fail(`${s} ${difference}`)
  })
  t.end()
})
