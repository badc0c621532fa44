/** Copies, casts and writing in place. */

import { checkNumber, wrong } from '../../engine/check.js'
import { ArgumentError } from '../../engine/errors.js'
import { type DeviceBuffer, native } from '../../engine/native.js'
import { arrayTypes, bytesOf, type DType, isFloating, type TypedArray } from '../../tensor/dtype.js'
import { binary, binaryInto, promote, unary, unaryInto } from '../../tensor/elementwise.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { type Shape, sameShape } from '../../tensor/shape.js'
import { type Operand, Tensor } from '../../tensor/tensor.js'
import { isRecording, isSpendable, record, tracked } from '../tape.js'

/** A contiguous copy, without gradients. */
export const copy = (x: Tensor): Tensor => unary('copy', x)

/** A contiguous copy that gradients flow through. */
export function clone(x: ArrayLike): Tensor {
  x = toTensor(x, 'x')
  const out = copy(x)
  return tracked(x) ? record(out, [x], (g) => [g]) : out
}

/** The tensor itself where it is contiguous, else a copy. */
export const contiguous = (x: Tensor): Tensor => (x.contiguous ? x : clone(x))

/** The same for kernels: what is copied is not recorded. */
export const dense = (x: Tensor): Tensor => (x.contiguous ? x : copy(x))

/** The same values in another dtype. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x
  const out = unary('copy', x, dtype)
  return isFloating(dtype) && tracked(x) ? record(out, [x], (g) => [cast(g, x.dtype)]) : out
}

/** A tensor of a number, with another's shape and dtype. */
export function fullLike(x: Tensor, value: number): Tensor {
  return filled(x.shape, value, x)
}

/** A tensor of a number, on another's device and with its dtype unless told otherwise. */
export const filled = (shape: Shape, value: number, like: Tensor, dtype = like.dtype): Tensor =>
  copyInto(Tensor.empty(shape, dtype, like.device), value)

/** The same values on another device. */
export function toDevice(x: Tensor, device: string): Tensor {
  if (x.device !== 'cpu' && device !== 'cpu') return toDevice(toDevice(x, 'cpu'), device)
  const dense = contiguous(x.detach())
  const out = Tensor.empty(x.shape, x.dtype, device)
  if (x.size > 0) {
    if (device === 'cpu') {
      const bytes = bytesOf(x.dtype)
      native.download(
        dense.buffer as DeviceBuffer,
        dense.offset * bytes,
        out.array.subarray(0, x.size),
      )
    } else {
      native.upload(
        out.buffer as DeviceBuffer,
        dense.array.subarray(dense.offset, dense.offset + x.size),
      )
    }
  }
  dense.dispose()
  return tracked(x) ? record(out, [x], (g) => [toDevice(g, x.device)]) : out
}

/** The values of `x` on a device, without gradients; itself where it is there. */
export const onDevice = (x: Tensor, device: string): Tensor =>
  x.device === device ? x : toDevice(x.detach(), device)

/** A copy of the elements; another device's are waited for on another thread. */
export async function read(x: Tensor): Promise<TypedArray> {
  if (x.device === 'cpu') return copy(x).data
  // What is read is the tensor of now: the copy stands in the device's queue before all that follows.
  const snapshot = copy(x).keep()
  const array = new arrayTypes[x.dtype](x.size)
  try {
    return await native.downloadAsync(snapshot.buffer as DeviceBuffer, 0, array)
  } finally {
    snapshot.dispose()
  }
}

/** The elements in order as numbers. */
export function numbers(x: Tensor): TypedArray {
  if (x.device !== 'cpu') return numbers(toDevice(x.detach(), 'cpu'))
  const plain = x.dtype === 'bfloat16' ? unary('copy', x, 'float32') : x.contiguous ? x : copy(x)
  return plain.array.slice(plain.offset, plain.offset + plain.size)
}

/** Overwrites `x`, which must not be part of a graph that is still needed. */
export function copyInto(x: Tensor, source: Operand): Tensor {
  if (typeof source === 'number') {
    if (x.device !== 'cpu') return binaryInto('maximum', source, source, x)
    if (x.contiguous && (source === 0 || (x.dtype !== 'bfloat16' && x.dtype !== 'bool'))) {
      x.array.fill(source, x.offset, x.offset + x.size)
      return x
    }
    const value = new Float64Array([source])
    return unaryInto('copy', Tensor.from({ data: value, shape: [] }), x)
  }
  const tensor = toTensor(source as ArrayLike, 'source')
  if (tensor.rank > x.rank) wrong('source', `at most ${x.rank} axes`, tensor.shape)
  return unaryInto('copy', onDevice(tensor, x.device), x)
}

/**
 * x ← x ∘ other, in x's memory and dtype; not recorded, and refused where a tape would miss it.
 *
 * @throws ArgumentError where x has a gradient and operations are being recorded
 */
export function inPlace(op: 'add' | 'sub' | 'mul' | 'div', x: Tensor, other: Operand): Tensor {
  if (x.requiresGrad && isRecording()) {
    throw new ArgumentError(
      'a tensor that requires a gradient is changed in place: do it inside noGrad()',
    )
  }
  const y = typeof other === 'number' ? other : onDevice(toTensor(other, 'other'), x.device)
  return binaryInto(op, x, y, x)
}

/** other·factor, not recorded: the operand of inPlace(). */
export function plainMul(other: Operand, factor: number): Tensor | number {
  checkNumber(factor, 'alpha')
  return typeof other === 'number'
    ? other * factor
    : binary('mul', toTensor(other, 'other'), factor)
}

/** x ← x + y, not recorded. */
export const addInto = (x: Tensor, y: Tensor): Tensor => binaryInto('add', x, y, x)

/** The gradient's own memory for what a rule makes of it, where nothing else needs it; else new memory. */
export function overGradient(g: Tensor, like: Tensor): Tensor {
  if (
    !isSpendable(g) ||
    !ownsMemory(g) ||
    g.dtype !== like.dtype ||
    !sameShape(g.shape, like.shape)
  ) {
    return Tensor.empty(like.shape, promote(g.dtype, like.dtype), g.device)
  }
  return g.detach()
}

/** Whether a tensor's memory is seen by nothing else. */
export const ownsMemory = (x: Tensor): boolean =>
  !x.kept && x.storage.references === 1 && x.storage.recyclable && x.contiguous
