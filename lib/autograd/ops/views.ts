/** Views: other shapes and strides over the same memory, and what goes with them. */

import { checkInteger, checkIntegers, wrong } from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { promote, unaryInto } from '../../tensor/elementwise.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import {
  broadcastStrides,
  checkAxis,
  checkShape,
  reshapedStrides,
  type Shape,
  sameShape,
  shownShape,
  sizeOf,
} from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked, unread, usedUp } from '../tape.js'
import { clone, copyInto } from './memory.js'
import { sumTo } from './reductions.js'
import { broadcastSamples, isBroadcast } from './samples.js'

/** A view of the same memory, not recorded. */
export function viewOf(x: Tensor, shape: Shape, strides: Shape, offset = x.offset): Tensor {
  const { storage } = x
  storage.references++
  return new Tensor(storage, x.dtype, shape, strides, offset)
}

export function reshape(x: ArrayLike, wanted: Shape): Tensor {
  x = toTensor(x, 'x')
  if (!Array.isArray(wanted)) wrong('shape', 'a list of extents', wanted)
  const size = sizeOf(x.shape)
  const open = wanted.indexOf(-1)
  const shape = checkShape(wanted.map((extent) => (extent === -1 ? 1 : extent)))
  if (open >= 0) {
    const rest = sizeOf(shape)
    if (wanted.indexOf(-1, open + 1) >= 0 || rest === 0 || size % rest !== 0) {
      throw new ShapeError(
        `a tensor of ${size} elements does not take the shape ${shownShape(wanted)}`,
      )
    }
    shape[open] = size / rest
  }
  if (sizeOf(shape) !== size) {
    throw new ShapeError(
      `a tensor of shape ${shownShape(x.shape)} does not take the shape ${shownShape(wanted)}`,
    )
  }
  const strides = reshapedStrides(x.shape, x.strides, shape)
  if (!strides) {
    const packed = clone(x)
    const y = reshape(packed, shape)
    usedUp(packed, y)
    packed.letGo()
    return y
  }
  const y = viewOf(x, shape, strides)
  return tracked(x) ? unread(record(y, [x], (g) => [reshape(g, x.shape)])) : y
}

export function flatten(x: ArrayLike, start = 0, end = -1): Tensor {
  x = toTensor(x, 'x')
  if (x.rank === 0) return reshape(x, [1])
  const first = checkAxis(start, x.rank, 'start')
  const last = checkAxis(end, x.rank, 'end')
  if (first > last) wrong('start', `an axis at most ${last}`, start)
  const middle = sizeOf(x.shape.slice(first, last + 1))
  return reshape(x, [...x.shape.slice(0, first), middle, ...x.shape.slice(last + 1)])
}

export function permute(x: ArrayLike, axes: Shape): Tensor {
  x = toTensor(x, 'x')
  const order = checkIntegers(axes, 'axes').map((axis) => checkAxis(axis, x.rank, 'axes'))
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    wrong('axes', `a permutation of ${x.rank} axes`, axes)
  }
  const pick = (list: Shape) => order.map((axis) => list[axis] as number)
  const y = viewOf(x, pick(x.shape), pick(x.strides))
  if (!tracked(x)) return y
  const inverse = order.map((_, i) => order.indexOf(i))
  return record(y, [x], (g) => [permute(g, inverse)])
}

export function transpose(x: ArrayLike, a = -2, b = -1): Tensor {
  x = toTensor(x, 'x')
  const order = x.shape.map((_, i) => i)
  const i = checkAxis(a, x.rank, 'a')
  const j = checkAxis(b, x.rank, 'b')
  order[i] = j
  order[j] = i
  return permute(x, order)
}

export function expand(x: ArrayLike, wanted: Shape): Tensor {
  x = toTensor(x, 'x')
  if (!Array.isArray(wanted)) wrong('shape', 'a list of extents', wanted)
  const missing = wanted.length - x.rank
  const shape = checkShape(
    wanted.map((extent, i) =>
      extent === -1 && i >= missing ? (x.shape[i - missing] as number) : extent,
    ),
  )
  if (sameShape(shape, x.shape)) return x
  const y = viewOf(x, shape, broadcastStrides(x.shape, x.strides, shape))
  if (!tracked(x)) return y
  return record(
    y,
    [x],
    (g) => [sumTo(g, x.shape)],
    (g, samples) =>
      isBroadcast(g, x.shape) ? (measure) => broadcastSamples(g, x.shape, samples, measure) : null,
  )
}

export function squeeze(x: ArrayLike, axis?: number): Tensor {
  x = toTensor(x, 'x')
  if (axis === undefined)
    return reshape(
      x,
      x.shape.filter((extent) => extent !== 1),
    )
  const a = checkAxis(axis, x.rank)
  return x.shape[a] === 1
    ? reshape(
        x,
        x.shape.filter((_, i) => i !== a),
      )
    : x
}

export function unsqueeze(x: ArrayLike, axis: number): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank + 1)
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)])
}

/** A tensor of zeros into which a view's gradient is written. */
function scatterView(g: Tensor, like: Tensor, take: (whole: Tensor) => Tensor): Tensor {
  const whole = copyInto(Tensor.empty(like.shape, g.dtype, g.device), 0)
  unaryInto('copy', g, take(whole))
  // Gradients of gradients: the same view of the gradient.
  return tracked(g) ? record(whole, [g], (h) => [take(h)]) : whole
}

export function slice(x: ArrayLike, axis: number, start = 0, end?: number, step = 1): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const extent = x.shape[a] as number
  const bound = (value: number, name: string) => {
    checkInteger(value, name)
    return Math.min(Math.max(value < 0 ? value + extent : value, 0), extent)
  }
  checkInteger(step, 'step', 1)
  const first = bound(start, 'start')
  const last = bound(end ?? extent, 'end')
  const count = Math.max(0, Math.ceil((last - first) / step))
  const stride = x.strides[a] as number
  const replace = (list: Shape, value: number) => list.map((entry, i) => (i === a ? value : entry))
  const offset = count === 0 ? x.offset : x.offset + first * stride
  const y = viewOf(x, replace(x.shape, count), replace(x.strides, stride * step), offset)
  if (!tracked(x)) return y
  return record(y, [x], (g) => [scatterView(g, x, (whole) => slice(whole, a, start, end, step))])
}

export function select(x: ArrayLike, axis: number, index: number): Tensor {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const extent = x.shape[a] as number
  checkInteger(index, 'index', -extent, extent - 1)
  const at = index < 0 ? index + extent : index
  return reshapeAway(slice(x, a, at, at + 1), a)
}

const reshapeAway = (x: Tensor, axis: number) =>
  reshape(
    x,
    x.shape.filter((_, i) => i !== axis),
  )

/** Reverses one axis, without a copy. */
export function flipAxis(x: Tensor, a: number): Tensor {
  const extent = x.shape[a] as number
  const stride = x.strides[a] as number
  const strides = x.strides.map((s, i) => (i === a ? -s : s))
  const y = viewOf(x, x.shape, strides, extent > 0 ? x.offset + (extent - 1) * stride : x.offset)
  return tracked(x) ? record(y, [x], (g) => [flipAxis(g, a)]) : y
}

/** Joins tensors along an axis that is there. */
export function cat(tensors: readonly ArrayLike[], axis = 0): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0)
    wrong('tensors', 'a list of at least one tensor', tensors)
  const parts = tensors.map((t, i) => toTensor(t, `tensors[${i}]`))
  const first = parts[0] as Tensor
  const a = checkAxis(axis, first.rank)
  const shape = [...first.shape]
  let dtype = first.dtype
  let total = 0
  for (const part of parts) {
    const fits =
      part.rank === first.rank &&
      part.shape.every((extent, i) => i === a || extent === first.shape[i])
    if (!fits) {
      throw new ShapeError(
        `tensors of shapes ${shownShape(first.shape)} and ${shownShape(part.shape)} do not join along axis ${a}`,
      )
    }
    total += part.shape[a] as number
    dtype = promote(dtype, part.dtype)
  }
  shape[a] = total
  const out = Tensor.empty(shape, dtype, first.device)
  const starts: number[] = []
  let at = 0
  for (const part of parts) {
    starts.push(at)
    const end = at + (part.shape[a] as number)
    const target = slice(out, a, at, end)
    unaryInto('copy', part, target)
    target.dispose()
    at = end
  }
  if (!parts.some((part) => tracked(part))) return out
  return record(out, parts, (g) =>
    parts.map((part, i) => {
      if (!part.requiresGrad) return null
      const start = starts[i] as number
      return slice(g, a, start, start + (part.shape[a] as number))
    }),
  )
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly ArrayLike[], axis = 0): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0)
    wrong('tensors', 'a list of at least one tensor', tensors)
  return cat(
    tensors.map((t, i) => unsqueeze(toTensor(t, `tensors[${i}]`), axis)),
    axis,
  )
}

/** Cuts an axis into pieces of `size` (the last may be shorter), or of the given sizes; views. */
export function split(x: ArrayLike, size: number | readonly number[], axis = 0): Tensor[] {
  x = toTensor(x, 'x')
  const a = checkAxis(axis, x.rank)
  const extent = x.shape[a] as number
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.ceil(extent / checkInteger(size, 'size', 1)) }, (_, i) =>
          Math.min(size, extent - i * size),
        )
      : checkIntegers(size, 'size')
  if (sizes.reduce((sum, s) => sum + checkInteger(s, 'size', 0), 0) !== extent) {
    wrong('size', `sizes that sum to ${extent}`, size)
  }
  let at = 0
  return sizes.map((s) => {
    at += s
    return slice(x, a, at - s, at)
  })
}
