/** Initial values of parameters, as in PyTorch. Each overwrites a tensor and returns it. */

import { copyInto } from '../autograd/ops/memory.js'
import { defaultGenerator, type Generator } from '../random/index.js'
import { isFloating } from '../tensor/dtype.js'
import { sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

function draw(x: Tensor, kind: 'uniform' | 'normal', a: number, b: number, g: Generator): Tensor {
  if (x.contiguous && isFloating(x.dtype)) return g.fill(x, kind, a, b)
  const dense = g.fill(Tensor.empty(x.shape, 'float64'), kind, a, b)
  copyInto(x, dense)
  dense.dispose()
  return x
}

/** Uniform in [low, high). */
export const uniform = (
  x: Tensor,
  low: number,
  high: number,
  g: Generator = defaultGenerator(),
): Tensor => draw(x, 'uniform', low, high - low, g)

/** Normal. */
export const normal = (x: Tensor, mean = 0, std = 1, g: Generator = defaultGenerator()): Tensor =>
  draw(x, 'normal', mean, std, g)

/** Inputs and outputs of a weight [out, in, …window]. */
export function fans(x: Tensor): [fanIn: number, fanOut: number] {
  const window = sizeOf(x.shape.slice(2))
  return [(x.shape[1] ?? 1) * window, (x.shape[0] ?? 1) * window]
}

/** Uniform with variance 2/((1 + a²)·fanIn) (He et al. 2015). */
export function kaimingUniform(x: Tensor, a = 0, g?: Generator): Tensor {
  const bound = Math.sqrt(6 / ((1 + a * a) * fans(x)[0]))
  return uniform(x, -bound, bound, g)
}

/** Normal with variance 2/((1 + a²)·fanIn). */
export const kaimingNormal = (x: Tensor, a = 0, g?: Generator): Tensor =>
  normal(x, 0, Math.sqrt(2 / ((1 + a * a) * fans(x)[0])), g)

/** Uniform with variance 2·gain²/(fanIn + fanOut) (Glorot & Bengio 2010). */
export function xavierUniform(x: Tensor, gain = 1, g?: Generator): Tensor {
  const [fanIn, fanOut] = fans(x)
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut))
  return uniform(x, -bound, bound, g)
}

/** Normal with variance 2·gain²/(fanIn + fanOut). */
export function xavierNormal(x: Tensor, gain = 1, g?: Generator): Tensor {
  const [fanIn, fanOut] = fans(x)
  return normal(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), g)
}
