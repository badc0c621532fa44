/** What people call on tensors: thin names for the functions of lib/autograd/ops, documented there. */

import * as ops from '../autograd/ops/index.js'
import { wrong } from '../engine/check.js'
import type { ArrayLike } from './interop.js'
import type { Shape } from './shape.js'
import { type Operand, Tensor } from './tensor.js'

/** An axis, several, or all (default). */
type Axes = number | number[] | undefined

/** The base class of Tensor: operations that autograd follows, and those in place, which it does not. */
export class Operations {
  // ---- arithmetic --------------------------------------------------------------------------------

  add(this: Tensor, other: Operand): Tensor {
    return ops.add(this, other)
  }
  sub(this: Tensor, other: Operand): Tensor {
    return ops.sub(this, other)
  }
  mul(this: Tensor, other: Operand): Tensor {
    return ops.mul(this, other)
  }
  div(this: Tensor, other: Operand): Tensor {
    return ops.div(this, other)
  }
  pow(this: Tensor, exponent: Operand): Tensor {
    return ops.pow(this, exponent)
  }
  maximum(this: Tensor, other: Operand): Tensor {
    return ops.maximum(this, other)
  }
  minimum(this: Tensor, other: Operand): Tensor {
    return ops.minimum(this, other)
  }
  mod(this: Tensor, other: Operand): Tensor {
    return ops.mod(this, other)
  }
  eq(this: Tensor, other: Operand): Tensor {
    return ops.eq(this, other)
  }
  ne(this: Tensor, other: Operand): Tensor {
    return ops.ne(this, other)
  }
  lt(this: Tensor, other: Operand): Tensor {
    return ops.lt(this, other)
  }
  le(this: Tensor, other: Operand): Tensor {
    return ops.le(this, other)
  }
  gt(this: Tensor, other: Operand): Tensor {
    return ops.gt(this, other)
  }
  ge(this: Tensor, other: Operand): Tensor {
    return ops.ge(this, other)
  }
  neg(this: Tensor): Tensor {
    return ops.neg(this)
  }
  abs(this: Tensor): Tensor {
    return ops.abs(this)
  }
  sign(this: Tensor): Tensor {
    return ops.sign(this)
  }
  square(this: Tensor): Tensor {
    return ops.square(this)
  }
  reciprocal(this: Tensor): Tensor {
    return ops.reciprocal(this)
  }
  sqrt(this: Tensor): Tensor {
    return ops.sqrt(this)
  }
  rsqrt(this: Tensor): Tensor {
    return ops.rsqrt(this)
  }
  exp(this: Tensor): Tensor {
    return ops.exp(this)
  }
  expm1(this: Tensor): Tensor {
    return ops.expm1(this)
  }
  log(this: Tensor): Tensor {
    return ops.log(this)
  }
  log1p(this: Tensor): Tensor {
    return ops.log1p(this)
  }
  sin(this: Tensor): Tensor {
    return ops.sin(this)
  }
  cos(this: Tensor): Tensor {
    return ops.cos(this)
  }
  tanh(this: Tensor): Tensor {
    return ops.tanh(this)
  }
  sigmoid(this: Tensor): Tensor {
    return ops.sigmoid(this)
  }
  relu(this: Tensor): Tensor {
    return ops.relu(this)
  }
  gelu(this: Tensor): Tensor {
    return ops.gelu(this)
  }
  silu(this: Tensor): Tensor {
    return ops.silu(this)
  }
  softplus(this: Tensor): Tensor {
    return ops.softplus(this)
  }
  erf(this: Tensor): Tensor {
    return ops.erf(this)
  }
  floor(this: Tensor): Tensor {
    return ops.floor(this)
  }
  ceil(this: Tensor): Tensor {
    return ops.ceil(this)
  }
  /** To the nearest integer, ties to even. */
  round(this: Tensor): Tensor {
    return ops.round(this)
  }
  logicalNot(this: Tensor): Tensor {
    return ops.logicalNot(this)
  }
  isNaN(this: Tensor): Tensor {
    return ops.isNaN(this)
  }
  isFinite(this: Tensor): Tensor {
    return ops.isFinite(this)
  }
  clip(this: Tensor, low: number | null, high: number | null): Tensor {
    return ops.clip(this, low, high)
  }
  maskedFill(this: Tensor, mask: ArrayLike, value: number): Tensor {
    return ops.maskedFill(this, mask, value)
  }

  lerp(this: Tensor, end: Operand, t: Operand): Tensor {
    return ops.lerp(this, end, t)
  }
  addcmul(this: Tensor, a: Operand, b: Operand, value = 1): Tensor {
    return ops.addcmul(this, a, b, value)
  }
  addcdiv(this: Tensor, a: Operand, b: Operand, value = 1): Tensor {
    return ops.addcdiv(this, a, b, value)
  }
  logicalAnd(this: Tensor, other: Operand): Tensor {
    return ops.logicalAnd(this, other)
  }
  logicalOr(this: Tensor, other: Operand): Tensor {
    return ops.logicalOr(this, other)
  }
  logicalXor(this: Tensor, other: Operand): Tensor {
    return ops.logicalXor(this, other)
  }
  isClose(this: Tensor, other: Operand, options?: ops.Closeness): Tensor {
    return ops.isClose(this, other, options)
  }
  /** Whether every entry is close to the other's: |a − b| ≤ atol + rtol·|b|. */
  allClose(this: Tensor, other: Operand, options?: ops.Closeness): boolean {
    return ops.allClose(this, other, options)
  }
  /** Whether shape and every entry are the same. */
  equals(this: Tensor, other: ArrayLike): boolean {
    return ops.equal(this, other)
  }

  // ---- picking by index --------------------------------------------------------------------------

  gather(this: Tensor, axis: number, index: ArrayLike): Tensor {
    return ops.gather(this, axis, index)
  }
  scatter(this: Tensor, axis: number, index: ArrayLike, src: Operand): Tensor {
    return ops.scatter(this, axis, index, src)
  }
  scatterAdd(this: Tensor, axis: number, index: ArrayLike, src: Operand): Tensor {
    return ops.scatterAdd(this, axis, index, src)
  }
  indexSelect(this: Tensor, indices: ops.Indices, axis = 0): Tensor {
    return ops.indexSelect(this, indices, axis)
  }
  indexAdd(this: Tensor, axis: number, indices: ops.Indices, src: ArrayLike, alpha = 1): Tensor {
    return ops.indexAdd(this, axis, indices, src, alpha)
  }
  maskedSelect(this: Tensor, mask: ArrayLike): Tensor {
    return ops.maskedSelect(this, mask)
  }
  sort(this: Tensor, axis = -1, descending = false): ops.Sorted {
    return ops.sort(this, axis, descending)
  }
  argsort(this: Tensor, axis = -1, descending = false): Tensor {
    return ops.argsort(this, axis, descending)
  }
  topk(this: Tensor, k: number, axis = -1, largest = true): ops.Sorted {
    return ops.topk(this, k, axis, largest)
  }
  nonzero(this: Tensor): Tensor {
    return ops.nonzero(this)
  }

  // ---- reductions --------------------------------------------------------------------------------

  sum(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.sum(this, axis, keepdim)
  }
  mean(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.mean(this, axis, keepdim)
  }
  prod(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.prod(this, axis, keepdim)
  }
  max(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.max(this, axis, keepdim)
  }
  min(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.min(this, axis, keepdim)
  }
  argmax(this: Tensor, axis?: number, keepdim = false): Tensor {
    return ops.argmax(this, axis, keepdim)
  }
  argmin(this: Tensor, axis?: number, keepdim = false): Tensor {
    return ops.argmin(this, axis, keepdim)
  }
  any(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.any(this, axis, keepdim)
  }
  all(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.all(this, axis, keepdim)
  }
  /** Variance; `correction` 1 (default) divides by n − 1. */
  variance(this: Tensor, axis?: Axes, keepdim = false, correction = 1): Tensor {
    return ops.variance(this, axis, keepdim, correction)
  }
  std(this: Tensor, axis?: Axes, keepdim = false, correction = 1): Tensor {
    return ops.std(this, axis, keepdim, correction)
  }
  norm(this: Tensor, axis?: Axes, keepdim = false, p = 2): Tensor {
    return ops.norm(this, axis, keepdim, p)
  }
  logsumexp(this: Tensor, axis?: Axes, keepdim = false): Tensor {
    return ops.logsumexp(this, axis, keepdim)
  }
  cumsum(this: Tensor, axis: number): Tensor {
    return ops.cumsum(this, axis)
  }
  cumprod(this: Tensor, axis: number): Tensor {
    return ops.cumprod(this, axis)
  }
  softmax(this: Tensor, axis = -1): Tensor {
    return ops.softmax(this, axis)
  }
  logSoftmax(this: Tensor, axis = -1): Tensor {
    return ops.logSoftmax(this, axis)
  }

  // ---- products ----------------------------------------------------------------------------------

  /** The matrix product; batched over leading axes, which broadcast. */
  matmul(this: Tensor, other: ArrayLike): Tensor {
    return ops.matmul(this, Tensor.from(other))
  }

  // ---- views -------------------------------------------------------------------------------------

  /** The same elements in another shape; −1 stands for what is left. A view where that is possible. */
  reshape(this: Tensor, ...shape: (number | Shape)[]): Tensor {
    return ops.reshape(this, shape.flat() as number[])
  }
  /** One axis where those from `start` to `end` (inclusive) were. */
  flatten(this: Tensor, start = 0, end = -1): Tensor {
    return ops.flatten(this, start, end)
  }
  /** Exchanges two axes. */
  transpose(this: Tensor, a = -2, b = -1): Tensor {
    return ops.transpose(this, a, b)
  }
  permute(this: Tensor, ...axes: (number | Shape)[]): Tensor {
    return ops.permute(this, axes.flat() as number[])
  }
  /** Elements [start, end) along an axis, every `step`-th; negative bounds count from the end. */
  slice(this: Tensor, axis: number, start = 0, end?: number, step = 1): Tensor {
    return ops.slice(this, axis, start, end, step)
  }
  /** The entry `index` along an axis, which disappears. */
  select(this: Tensor, axis: number, index: number): Tensor {
    return ops.select(this, axis, index)
  }
  squeeze(this: Tensor, axis?: number): Tensor {
    return ops.squeeze(this, axis)
  }
  unsqueeze(this: Tensor, axis: number): Tensor {
    return ops.unsqueeze(this, axis)
  }
  /** Repeats axes of extent 1, without a copy. */
  expand(this: Tensor, ...shape: (number | Shape)[]): Tensor {
    return ops.expand(this, shape.flat() as number[])
  }

  split(this: Tensor, size: number | readonly number[], axis = 0): Tensor[] {
    return ops.split(this, size, axis)
  }
  chunk(this: Tensor, count: number, axis = 0): Tensor[] {
    return ops.chunk(this, count, axis)
  }
  unbind(this: Tensor, axis = 0): Tensor[] {
    return ops.unbind(this, axis)
  }
  unfold(this: Tensor, axis: number, size: number, step: number): Tensor {
    return ops.unfold(this, axis, size, step)
  }
  diagonal(this: Tensor, offset = 0, a = -2, b = -1): Tensor {
    return ops.diagonal(this, offset, a, b)
  }
  flip(this: Tensor, axes: number | readonly number[]): Tensor {
    return ops.flip(this, axes)
  }
  roll(this: Tensor, shift: number, axis: number): Tensor {
    return ops.roll(this, shift, axis)
  }
  repeat(this: Tensor, ...counts: (number | readonly number[])[]): Tensor {
    return ops.repeat(this, counts.flat() as number[])
  }
  repeatInterleave(this: Tensor, counts: number | readonly number[], axis: number): Tensor {
    return ops.repeatInterleave(this, counts, axis)
  }
  tril(this: Tensor, diagonal = 0): Tensor {
    return ops.tril(this, diagonal)
  }
  triu(this: Tensor, diagonal = 0): Tensor {
    return ops.triu(this, diagonal)
  }
  pad(this: Tensor, widths: readonly number[], options?: ops.PadOptions): Tensor {
    return ops.pad(this, widths, options)
  }

  // ---- in place ----------------------------------------------------------------------------------

  /** Overwrites the elements with those of another tensor (broadcast) or a number; not recorded. */
  copy_(this: Tensor, source: Operand): Tensor {
    return ops.copyInto(this, source)
  }
  fill_(this: Tensor, value: number): Tensor {
    if (typeof value !== 'number') wrong('value', 'a number', value)
    return ops.copyInto(this, value)
  }
  zero_(this: Tensor): Tensor {
    return ops.copyInto(this, 0)
  }
  /** x ← x + alpha·other, broadcast to x and in its dtype; the other three likewise. Not recorded. */
  add_(this: Tensor, other: Operand, alpha = 1): Tensor {
    return ops.inPlace('add', this, alpha === 1 ? other : ops.plainMul(other, alpha))
  }
  sub_(this: Tensor, other: Operand, alpha = 1): Tensor {
    return ops.inPlace('sub', this, alpha === 1 ? other : ops.plainMul(other, alpha))
  }
  mul_(this: Tensor, other: Operand): Tensor {
    return ops.inPlace('mul', this, other)
  }
  div_(this: Tensor, other: Operand): Tensor {
    return ops.inPlace('div', this, other)
  }
}
