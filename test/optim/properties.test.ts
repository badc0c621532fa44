import fc from 'fast-check'
import { test } from 'tap'
import type { Tensor } from '../../lib/index.js'
import { Mask } from '../../lib/masks/index.js'
import { AdamW, Lion, SGD } from '../../lib/optim/index.js'
import { wave } from '../fixtures.js'
import { type Pair, views } from '../tensor/plain.js'

const runs = { numRuns: 60 }
const steps = 3
const part = (max: number) => fc.double({ min: 0, max, noNaN: true })
const rate = fc.double({ min: 1e-4, max: 0.5, noNaN: true })

/** Gradients of several parameters, views of any strides. */
const gradients = fc.array(views({ dtypes: ['float32'], specials: false, least: 1 }), {
  minLength: 1,
  maxLength: 3,
})
const parametersFor = (pairs: readonly Pair[]) =>
  pairs.map(({ plain }, i) => ({ data: wave(plain.values.length, i + 1), shape: plain.shape }))

interface Steps {
  step(grads: readonly Tensor[]): void
}
type Params = ReturnType<typeof parametersFor>

/** A rule: the optimizer, and its steps on one number in float64. */
interface Rule {
  make: (params: Params, masks?: (Mask | null)[]) => Steps
  plain: (p: number, g: number) => number
}

const sgd = fc
  .record({
    lr: rate,
    momentum: part(0.95),
    dampening: part(0.5),
    weightDecay: part(0.1),
    nesterov: fc.boolean(),
    maximize: fc.boolean(),
  })
  .map((o): Rule => {
    const nesterov = o.nesterov && o.momentum > 0
    const options = { ...o, nesterov, dampening: nesterov ? 0 : o.dampening }
    return {
      make: (params, masks) => new SGD(params, { ...options, ...(masks && { masks }) }),
      plain(p, gradient) {
        let x = p
        let b = 0
        for (let t = 1; t <= steps; t++) {
          const g = (o.maximize ? -gradient : gradient) + o.weightDecay * x
          b = t === 1 ? g : o.momentum * b + (1 - options.dampening) * g
          x -= o.lr * (o.momentum === 0 ? g : nesterov ? g + o.momentum * b : b)
        }
        return x
      },
    }
  })

const adamw = fc
  .record({
    lr: rate,
    betas: fc.tuple(part(0.95), part(0.999)),
    eps: fc.constantFrom(1e-8, 1e-4),
    weightDecay: part(0.1),
    amsgrad: fc.boolean(),
    decoupled: fc.boolean(),
    maximize: fc.boolean(),
  })
  .map(
    (o): Rule => ({
      make: (params, masks) => new AdamW(params, { ...o, ...(masks && { masks }) }),
      plain(p, gradient) {
        let [x, m, v, most] = [p, 0, 0, 0]
        const [b1, b2] = o.betas
        for (let t = 1; t <= steps; t++) {
          let g = o.maximize ? -gradient : gradient
          if (o.decoupled) x *= 1 - o.lr * o.weightDecay
          else g += o.weightDecay * x
          m = b1 * m + (1 - b1) * g
          v = b2 * v + (1 - b2) * g * g
          most = Math.max(most, v)
          const second = Math.sqrt((o.amsgrad ? most : v) / (1 - b2 ** t)) + o.eps
          x -= ((o.lr / (1 - b1 ** t)) * m) / second
        }
        return x
      },
    }),
  )

const lion = fc
  .record({ lr: rate, betas: fc.tuple(part(0.95), part(0.99)), weightDecay: part(0.1) })
  .map(
    (o): Rule => ({
      make: (params, masks) => new Lion(params, { ...o, ...(masks && { masks }) }),
      plain(p, g) {
        let [x, m] = [p, 0]
        for (let t = 0; t < steps; t++) {
          x =
            x * (1 - o.lr * o.weightDecay) - o.lr * Math.sign(o.betas[0] * m + (1 - o.betas[0]) * g)
          m = o.betas[1] * m + (1 - o.betas[1]) * g
        }
        return x
      },
    }),
  )

/** The parameters after some steps with the same gradients. */
function after(
  rule: Rule,
  pairs: readonly Pair[],
  params = parametersFor(pairs),
  masks?: (Mask | null)[],
): Params {
  const optimizer = rule.make(params, masks)
  for (let t = 0; t < steps; t++) optimizer.step(pairs.map(({ x }) => x))
  return params
}

for (const [name, rules] of Object.entries({ sgd, adamw, lion })) {
  test(`${name}: the formula, for gradients of any shape and strides`, async () => {
    fc.assert(
      fc.property(rules, gradients, (rule, pairs) => {
        const start = parametersFor(pairs)
        return after(rule, pairs).every(({ data }, i) =>
          data.every((value, j) => {
            const g = pairs[i]?.plain.values[j] as number
            const expected = rule.plain(start[i]?.data[j] as number, g)
            return Math.abs(value - expected) <= 1e-5 * (1 + Math.abs(expected) + Math.abs(g))
          }),
        )
      }),
      runs,
    )
  })

  test(`${name}: the same bits one by one; masks leave what is off alone`, async () => {
    fc.assert(
      fc.property(rules, gradients, fc.nat(99), (rule, pairs, seed) => {
        const start = parametersFor(pairs)
        const together = after(rule, pairs)
        const on = (i: number, j: number) => (i * 7 + j * 3 + seed) % 5 < 3
        const masks = start.map(({ data, shape }, i) =>
          Mask.fromTensor({ data: data.map((_, j) => Number(on(i, j))), shape }),
        )
        const masked = after(rule, pairs, parametersFor(pairs), masks)
        return pairs.every((pair, i) => {
          const bits = together[i]?.data as Float32Array
          const [alone] = after(rule, [pair], parametersFor(pairs).slice(i, i + 1))
          return (
            bits.every((v, j) => v === alone?.data[j]) &&
            masked[i]?.data.every((v, j) => v === (on(i, j) ? bits[j] : start[i]?.data[j]))
          )
        })
      }),
      runs,
    )
  })
}
