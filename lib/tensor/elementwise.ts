/** Elementwise operations on tensors, without gradients. */

import { begin, number, view, viewAs } from '../engine/call.js'
import { native } from '../engine/native.js'
import { type DType, isFloating } from './dtype.js'
import { broadcastShapes, broadcastStrides, type Shape, sameShape } from './shape.js'
import { Tensor } from './tensor.js'

/** In the order of native/include/palimpsest/kernels/elementwise.h. */
const unaryNames = [
  'copy',
  'neg',
  'abs',
  'sign',
  'square',
  'reciprocal',
  'sqrt',
  'rsqrt',
  'exp',
  'expm1',
  'log',
  'log1p',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'relu',
  'gelu',
  'silu',
  'softplus',
  'erf',
  'floor',
  'ceil',
  'round',
  'logicalNot',
  'isNaN',
  'isFinite',
  'geluTanh',
] as const
const comparisonNames = [
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'logicalAnd',
  'logicalOr',
  'logicalXor',
] as const
const binaryNames = [
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'maximum',
  'minimum',
  'mod',
  ...comparisonNames,
  'reluBackward',
  'geluBackward',
  'siluBackward',
  'tanhBackward',
  'sigmoidBackward',
  'geluTanhBackward',
] as const

export type UnaryName = (typeof unaryNames)[number]
export type BinaryName = (typeof binaryNames)[number]

const codes = <T extends string>(names: readonly T[]) =>
  Object.fromEntries(names.map((name, i) => [name, i])) as Record<T, number>
const unaryCodes = codes(unaryNames)
const binaryCodes = codes(binaryNames)

const ranks: Record<DType, number> = {
  bool: 0,
  uint8: 1,
  int32: 2,
  bfloat16: 3,
  float32: 4,
  float64: 5,
}

/** The dtype of a result of both: the wider; integers give way to floats. */
export function promote(a: DType, b: DType): DType {
  return ranks[a] >= ranks[b] ? a : b
}

function writeOperand(operand: Tensor | number, shape: Shape): number {
  if (typeof operand === 'number') return operand
  if (sameShape(operand.shape, shape)) view(operand)
  else viewAs(operand, shape, broadcastStrides(operand.shape, operand.strides, shape))
  return 0
}

const bufferOf = (operand: Tensor | number) => (typeof operand === 'number' ? null : operand.buffer)

/** op(x) into a tensor that is there. */
export function unaryInto(op: UnaryName, x: Tensor, out: Tensor): Tensor {
  begin()
  writeOperand(x, out.shape)
  view(out)
  number(unaryCodes[op])
  native.unary(x.buffer, out.buffer)
  return out
}

/** op(x); floats are what functions like exp give for integers. */
export function unary(op: UnaryName, x: Tensor, dtype: DType = x.dtype): Tensor {
  return unaryInto(op, x, Tensor.empty(x.shape, dtype, x.device))
}

/** op(a, b) into a tensor that is there. */
export function binaryInto(
  op: BinaryName,
  a: Tensor | number,
  b: Tensor | number,
  out: Tensor,
): Tensor {
  begin()
  const first = writeOperand(a, out.shape)
  const second = writeOperand(b, out.shape)
  view(out)
  number(binaryCodes[op])
  number(typeof a === 'number' ? first : second)
  native.binary(bufferOf(a), bufferOf(b), out.buffer)
  return out
}

const comparisons: ReadonlySet<BinaryName> = new Set(comparisonNames)

function resultType(op: BinaryName, a: Tensor | number, b: Tensor | number): DType {
  if (comparisons.has(op)) return 'bool'
  let dtype: DType
  if (typeof a === 'number') {
    dtype = withNumber((b as Tensor).dtype, a)
  } else if (typeof b === 'number') {
    dtype = withNumber(a.dtype, b)
  } else {
    dtype = promote(a.dtype, b.dtype)
  }
  if (op === 'div' && !isFloating(dtype)) return 'float32'
  return dtype === 'bool' ? 'int32' : dtype
}

/** A number takes the tensor's dtype, but a fraction makes an integer tensor float32. */
function withNumber(dtype: DType, value: number): DType {
  return isFloating(dtype) || Number.isInteger(value) ? dtype : 'float32'
}

/** op(a, b) with broadcasting; one of the two may be a number. */
export function binary(op: BinaryName, a: Tensor | number, b: Tensor | number): Tensor {
  const shape =
    typeof a === 'number'
      ? (b as Tensor).shape
      : typeof b === 'number' || sameShape(a.shape, b.shape)
        ? a.shape
        : broadcastShapes(a.shape, b.shape)
  const device = (typeof a === 'number' ? (b as Tensor) : a).device
  return binaryInto(op, a, b, Tensor.empty(shape, resultType(op, a, b), device))
}

/** condition ? a : b. */
export function where(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  let shape = condition.shape
  if (typeof a !== 'number') shape = broadcastShapes(shape, a.shape)
  if (typeof b !== 'number') shape = broadcastShapes(shape, b.shape)
  const dtype =
    typeof a === 'number'
      ? typeof b === 'number'
        ? 'float32'
        : withNumber(b.dtype, a)
      : typeof b === 'number'
        ? withNumber(a.dtype, b)
        : promote(a.dtype, b.dtype)
  const out = Tensor.empty(shape, dtype, condition.device)
  begin()
  writeOperand(condition, shape)
  const first = writeOperand(a, shape)
  const second = writeOperand(b, shape)
  view(out)
  number(first)
  number(second)
  native.where(condition.buffer, bufferOf(a), bufferOf(b), out.buffer)
  return out
}
