/** Elementwise functions and their gradients. */

import { checkNumber, checkOptions } from '../../engine/check.js'
import { type DType, isFloating } from '../../tensor/dtype.js'
import * as raw from '../../tensor/elementwise.js'
import { promote } from '../../tensor/elementwise.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { broadcastShapes, sameShape } from '../../tensor/shape.js'
import type { Operand, Tensor } from '../../tensor/tensor.js'
import { record, tracked, usedUp } from '../tape.js'
import { cast, overGradient, ownsMemory } from './memory.js'
import { sumTo } from './reductions.js'
import { broadcastSamples, isBroadcast } from './samples.js'

// ---- functions of one tensor -----------------------------------------------------------------------

/** A function with the gradient rule g, x, y → dx. */
function differentiable(name: raw.UnaryName, rule: (g: Tensor, x: Tensor, y: Tensor) => Tensor) {
  return (x: ArrayLike): Tensor => {
    x = toTensor(x, 'x')
    const y = raw.unary(name, x, isFloating(x.dtype) ? x.dtype : 'float32')
    return tracked(x) ? record(y, [x], (g) => [rule(g, x, y)]) : y
  }
}

/** A function that keeps integers integers. */
function onIntegersToo(name: raw.UnaryName, rule: (g: Tensor, x: Tensor, y: Tensor) => Tensor) {
  return (x: ArrayLike): Tensor => {
    x = toTensor(x, 'x')
    const y = raw.unary(name, x, x.dtype === 'bool' ? 'int32' : x.dtype)
    return tracked(x) ? record(y, [x], (g) => [rule(g, x, y)]) : y
  }
}

/** A piecewise constant function: its gradient is zero. */
const flat =
  (name: raw.UnaryName, dtype?: DType) =>
  (x: ArrayLike): Tensor => {
    x = toTensor(x, 'x')
    return raw.unary(name, x, dtype ?? x.dtype)
  }

export const neg = onIntegersToo('neg', (g) => neg(g))
export const abs = onIntegersToo('abs', (g, x) => mul(g, sign(x)))
export const square = onIntegersToo('square', (g, x) => mul(g, mul(x, 2)))
export const sign = flat('sign')
export const reciprocal = differentiable('reciprocal', (g, _x, y) => neg(mul(g, square(y))))
export const sqrt = differentiable('sqrt', (g, _x, y) => div(g, mul(y, 2)))
export const rsqrt = differentiable('rsqrt', (g, x, y) => div(mul(g, mul(y, -0.5)), x))
export const exp = differentiable('exp', (g, _x, y) => mul(g, y))
export const expm1 = differentiable('expm1', (g, _x, y) => mul(g, add(y, 1)))
export const log = differentiable('log', (g, x) => div(g, x))
export const log1p = differentiable('log1p', (g, x) => div(g, add(x, 1)))
export const sin = differentiable('sin', (g, x) => mul(g, cos(x)))
export const cos = differentiable('cos', (g, x) => neg(mul(g, sin(x))))
export const tanh = differentiable('tanh', (g, _x, y) => tanhBackward(g, y, true))
export const sigmoid = differentiable('sigmoid', (g, _x, y) => sigmoidBackward(g, y, true))
// From the output, which layers that follow keep anyway.
export const relu = onIntegersToo('relu', (g, _x, y) => reluBackward(g, y, true))
export const gelu = differentiable('gelu', (g, x) => geluBackward(g, x, true))
/** GELU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks & Gimpel 2016). */
export const geluTanh = differentiable('geluTanh', (g, x) => geluTanhBackward(g, x, true))
export const silu = differentiable('silu', (g, x) => siluBackward(g, x, true))
export const softplus = differentiable('softplus', (g, x) => mul(g, sigmoid(x)))
export const erf = differentiable('erf', (g, x) =>
  mul(g, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
)
export const floor = flat('floor')
export const ceil = flat('ceil')
export const round = flat('round')
export const logicalNot = flat('logicalNot', 'bool')
export const isNaN = flat('isNaN', 'bool')
export const isFinite = flat('isFinite', 'bool')

// ---- chain rules of activations, fused; each is differentiable itself ------------------------------

/**
 * g·f'(…) in one pass; `again` are the gradients with respect to g and the second operand. With `last`,
 * for rules that need g for nothing else, it may be written over g.
 */
function chainRule(
  name: raw.BinaryName,
  again: (h: Tensor, g: Tensor, x: Tensor) => [Tensor, Tensor | null],
) {
  return (g: Tensor, x: Tensor, last = false): Tensor => {
    const out = last ? raw.binaryInto(name, g, x, overGradient(g, x)) : raw.binary(name, g, x)
    return tracked(g, x) ? record(out, [g, x], (h) => again(h, g, x)) : out
  }
}

export const reluBackward = chainRule('reluBackward', (h, _g, x) => [reluBackward(h, x), null])
export const tanhBackward = chainRule('tanhBackward', (h, g, y) => [
  tanhBackward(h, y),
  mul(mul(h, g), mul(y, -2)),
])
export const sigmoidBackward = chainRule('sigmoidBackward', (h, g, y) => [
  sigmoidBackward(h, y),
  mul(mul(h, g), sub(1, mul(y, 2))),
])
// gelu″ = φ(x)(2 − x²); silu″ = s(1 − s)(2 + x(1 − 2s)).
const geluBackward = chainRule('geluBackward', (h, g, x) => [
  geluBackward(h, x),
  mul(
    mul(h, g),
    mul(mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI)), sub(2, square(x))),
  ),
])
// x·σ(w), w = c(x + ax³): with s = σ(w), d = s(1 − s), the second derivative is
// 2dw′ + x·d·((1 − 2s)w′² + w″).
const geluTanhBackward = chainRule('geluTanhBackward', (h, g, x) => {
  const c = 2 * Math.sqrt(2 / Math.PI)
  const squares = square(x)
  const s = sigmoid(mul(mul(x, add(mul(squares, 0.044715), 1)), c))
  const d = mul(s, sub(1, s))
  const slope = mul(add(mul(squares, 3 * 0.044715), 1), c)
  const bend = add(mul(sub(1, mul(s, 2)), square(slope)), mul(x, 6 * 0.044715 * c))
  return [geluTanhBackward(h, x), mul(mul(h, g), mul(d, add(mul(slope, 2), mul(x, bend))))]
})
const siluBackward = chainRule('siluBackward', (h, g, x) => {
  const s = sigmoid(x)
  const curve = mul(mul(s, sub(1, s)), add(mul(x, sub(1, mul(s, 2))), 2))
  return [siluBackward(h, x), mul(mul(h, g), curve)]
})

// ---- functions of two ------------------------------------------------------------------------------

const operand = (value: Operand, name: string): Tensor | number =>
  typeof value === 'number' ? value : toTensor(value, name)

/** The gradient of a broadcast operand: summed over what was repeated, in the operand's dtype. */
function reduceLike(grad: Tensor, like: Tensor): Tensor {
  const sum = sameShape(grad.shape, like.shape) ? grad : sumTo(grad, like.shape)
  return cast(sum, like.dtype)
}

type PairRule = (
  g: Tensor,
  a: Tensor | number,
  b: Tensor | number,
  y: Tensor,
  needs: [boolean, boolean],
) => [Tensor | null, Tensor | null]

function differentiable2(name: raw.BinaryName, rule: PairRule) {
  return (left: Operand, right: Operand): Tensor => {
    const a = operand(left, 'a')
    const b = operand(right, 'b')
    const y =
      typeof a === 'number' && typeof b === 'number'
        ? raw.binary(name, toTensor({ data: Float32Array.of(a), shape: [] }, 'a'), b)
        : raw.binary(name, a, b)
    return recordPair(rule, a, b, y)
  }
}

/** Records a function of two, where that is needed; returns its result. */
function recordPair(rule: PairRule, a: Tensor | number, b: Tensor | number, y: Tensor): Tensor {
  const ta = typeof a === 'number' ? null : a
  const tb = typeof b === 'number' ? null : b
  if (!tracked(ta, tb)) return y
  const needs: [boolean, boolean] = [ta?.requiresGrad ?? false, tb?.requiresGrad ?? false]
  const back = (g: Tensor) => {
    const [ga, gb] = rule(g, a, b, y, needs)
    return [
      ga && ta?.requiresGrad ? reduceLike(ga, ta) : null,
      gb && tb?.requiresGrad ? reduceLike(gb, tb) : null,
    ]
  }
  return record(y, [ta, tb], back, (g, samples, i) => {
    const like = i === 0 ? ta : tb
    if (!like || !isBroadcast(g, like.shape)) return null
    return (measure) =>
      broadcastSamples(rule(g, a, b, y, needs)[i] as Tensor, like.shape, samples, measure)
  })
}

const addRule: PairRule = (g) => [g, g]
export const add = differentiable2('add', addRule)

/**
 * x + branch, where the package made the branch for this sum: written over it if nothing else can read its
 * values, neither a holder nor a gradient.
 */
export function addOnto(x: Tensor, branch: Tensor): Tensor {
  const free =
    branch.holder !== 'outside' &&
    branch !== x &&
    !branch.hooks &&
    !branch.node?.readsResult &&
    ownsMemory(branch) &&
    promote(x.dtype, branch.dtype) === branch.dtype &&
    sameShape(broadcastShapes(x.shape, branch.shape), branch.shape)
  const y = free ? raw.binaryInto('add', x, branch, branch.detach()) : raw.binary('add', x, branch)
  recordPair(addRule, x, branch, y)
  if (free) branch.letGo()
  else if (branch !== x) usedUp(branch, y)
  return y
}
export const sub = differentiable2('sub', (g, _a, _b, _y, [, needsB]) => [
  g,
  needsB ? neg(g) : null,
])
export const mul = differentiable2('mul', (g, a, b, _y, [needsA, needsB]) => [
  needsA ? mul(g, b) : null,
  needsB ? mul(g, a) : null,
])
export const div = differentiable2('div', (g, _a, b, y, [, needsB]) => {
  const ga = div(g, b)
  return [ga, needsB ? neg(mul(ga, y)) : null]
})
export const pow = differentiable2('pow', (g, a, b, y, [needsA, needsB]) => [
  needsA ? mul(g, mul(b, pow(a, typeof b === 'number' ? b - 1 : sub(b, 1)))) : null,
  // 0^b is flat in b.
  needsB ? mul(g, where(typeof a === 'number' ? eq(y, 0) : eq(a, 0), 0, mul(y, logOf(a)))) : null,
])
const logOf = (a: Tensor | number) => (typeof a === 'number' ? Math.log(a) : log(a))
// Where both are equal each takes half.
const share = (g: Tensor, wins: Tensor, ties: Tensor) =>
  mul(g, add(cast(wins, g.dtype), mul(cast(ties, g.dtype), 0.5)))
export const maximum = differentiable2('maximum', (g, a, b, _y, [needsA, needsB]) => {
  const ties = eq(a, b)
  return [needsA ? share(g, gt(a, b), ties) : null, needsB ? share(g, lt(a, b), ties) : null]
})
export const minimum = differentiable2('minimum', (g, a, b, _y, [needsA, needsB]) => {
  const ties = eq(a, b)
  return [needsA ? share(g, lt(a, b), ties) : null, needsB ? share(g, gt(a, b), ties) : null]
})
/** a − b·⌊a/b⌋. */
export const mod = differentiable2('mod', (g, a, b, _y, [, needsB]) => [
  g,
  needsB ? neg(mul(g, floor(div(a, b)))) : null,
])

/** A comparison: bool, without a gradient. */
const comparison =
  (name: raw.BinaryName) =>
  (a: Operand, b: Operand): Tensor =>
    raw.binary(name, operand(a, 'a'), operand(b, 'b'))

export const eq = comparison('eq')
export const ne = comparison('ne')
export const lt = comparison('lt')
export const le = comparison('le')
export const gt = comparison('gt')
export const ge = comparison('ge')
export const logicalAnd = comparison('logicalAnd')
export const logicalOr = comparison('logicalOr')
export const logicalXor = comparison('logicalXor')

/** `a` where the condition holds, else `b`; all three broadcast. */
export function where(condition: ArrayLike, a: Operand, b: Operand): Tensor {
  const c = toTensor(condition, 'condition')
  const x = operand(a, 'a')
  const y = operand(b, 'b')
  const out = raw.where(c, x, y)
  const tx = typeof x === 'number' ? null : x
  const ty = typeof y === 'number' ? null : y
  if (!tracked(tx, ty)) return out
  const back = (g: Tensor, i: number) => (i === 0 ? where(c, g, 0) : where(c, 0, g))
  return record(
    out,
    [tx, ty],
    (g) => [
      tx?.requiresGrad ? reduceLike(back(g, 0), tx) : null,
      ty?.requiresGrad ? reduceLike(back(g, 1), ty) : null,
    ],
    (g, samples, i) => {
      const like = i === 0 ? tx : ty
      if (!like || !isBroadcast(g, like.shape)) return null
      return (measure) => broadcastSamples(back(g, i), like.shape, samples, measure)
    },
  )
}

/**
 * Limits elements to [low, high]; null leaves a side open. The gradient passes where they lie inside.
 */
export function clip(x: ArrayLike, low: number | null, high: number | null): Tensor {
  x = toTensor(x, 'x')
  const [a, b] = [low ?? -Infinity, high ?? Infinity]
  checkNumber(a, 'low')
  checkNumber(b, 'high')
  const raised = low === null ? x.detach() : raw.binary('maximum', x, a)
  const y = high === null ? raised : raw.binary('minimum', raised, b)
  return tracked(x) ? record(y, [x], (g) => [inside(g, x, a, b)]) : y
}

const inside = (g: Tensor, x: Tensor, low: number, high: number): Tensor =>
  where(logicalAnd(ge(x, low), le(x, high)), g, 0)

/** a + t·(b − a). */
export function lerp(a: Operand, b: Operand, t: Operand): Tensor {
  const start = operand(a, 'a')
  return add(start, mul(sub(operand(b, 'b'), start), operand(t, 't')))
}

/** x + value·a·b. */
export function addcmul(x: Operand, a: Operand, b: Operand, value = 1): Tensor {
  const start = operand(x, 'x')
  return add(start, scaled(mul(a, b), value))
}

/** x + value·a/b. */
export function addcdiv(x: Operand, a: Operand, b: Operand, value = 1): Tensor {
  const start = operand(x, 'x')
  return add(start, scaled(div(a, b), value))
}

const scaled = (x: Tensor, value: number) => (checkNumber(value, 'value') === 1 ? x : mul(x, value))

/** Tolerances of isClose and allClose. */
export interface Closeness {
  /** Relative to b; 1e-5 by default. */
  rtol?: number
  /** 1e-8 by default. */
  atol?: number
  /** Whether NaN is close to NaN; false by default. */
  equalNaN?: boolean
}

/** |a − b| ≤ atol + rtol·|b|, or both equal (infinities): bool, by element. */
export function isClose(a: Operand, b: Operand, options: Closeness = {}): Tensor {
  const { rtol = 1e-5, atol = 1e-8, equalNaN = false } = checkOptions(options)
  checkNumber(rtol, 'rtol', 0)
  checkNumber(atol, 'atol', 0)
  const [x, y] = [operand(a, 'a'), operand(b, 'b')]
  const bound =
    typeof y === 'number' ? Math.abs(y) * rtol + atol : add(mul(abs(y.detach()), rtol), atol)
  // An infinite bound is wide enough for everything: only equal infinities are close.
  const near = logicalAnd(le(abs(detached(sub(x, y))), bound), lt(bound, Infinity))
  const close = logicalOr(near, eq(x, y))
  return equalNaN ? logicalOr(close, logicalAnd(ne(x, x), ne(y, y))) : close
}

const detached = (x: Tensor) => x.detach()
