/** Initial values of parameters, as in PyTorch. Each overwrites a tensor and returns it. */

import { div, matmul, mul, norm, reshape, select, slice, sub } from '../autograd/ops/index.js'
import { copyInto } from '../autograd/ops/memory.js'
import { noGrad } from '../autograd/tape.js'
import {
  checkChoice,
  checkFinite,
  checkInstance,
  checkNumber,
  checkOptions,
  wrong,
} from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { defaultGenerator, Generator } from '../random/index.js'
import { isFloating } from '../tensor/dtype.js'
import { checkTensor } from '../tensor/interop.js'
import { scope } from '../tensor/scope.js'
import { shownShape, sizeOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

function draw(x: Tensor, kind: 'uniform' | 'normal', a: number, b: number, g: Generator): Tensor {
  checkTensor(x, 'x')
  checkInstance(g, Generator, 'g')
  if (x.contiguous && isFloating(x.dtype)) return g.fill(x, kind, a, b)
  const dense = g.fill(Tensor.empty(x.shape, 'float64'), kind, a, b)
  copyInto(x, dense)
  dense.dispose()
  return x
}

/** Uniform in [low, high). */
export function uniform(
  x: Tensor,
  low: number,
  high: number,
  g: Generator = defaultGenerator(),
): Tensor {
  checkFinite(low, 'low')
  return draw(x, 'uniform', low, checkFinite(high, 'high') - low, g)
}

/** Normal. */
export function normal(x: Tensor, mean = 0, std = 1, g: Generator = defaultGenerator()): Tensor {
  checkFinite(mean, 'mean')
  return draw(x, 'normal', mean, checkNumber(std, 'std', 0), g)
}

/** Inputs and outputs of a weight [out, in, …window]. */
export function fans(x: Tensor): [fanIn: number, fanOut: number] {
  checkTensor(x, 'x')
  const window = sizeOf(x.shape.slice(2))
  return [(x.shape[1] ?? 1) * window, (x.shape[0] ?? 1) * window]
}

/** Activations that a gain is known for. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu'

/** What keeps the variance through an activation, as in PyTorch; `slope` is leaky ReLU's (0.01). */
export function gainOf(nonlinearity: Nonlinearity, slope = 0.01): number {
  checkFinite(slope, 'slope')
  const gains: Record<Nonlinearity, number> = {
    linear: 1,
    sigmoid: 1,
    tanh: 5 / 3,
    relu: Math.SQRT2,
    leakyRelu: Math.sqrt(2 / (1 + slope * slope)),
    selu: 3 / 4,
  }
  return gains[checkChoice(nonlinearity, 'nonlinearity', Object.keys(gains) as Nonlinearity[])]
}

/** Options of the Kaiming initialisers. */
export interface KaimingOptions {
  /** 'fanIn' (default) keeps the variance forward, 'fanOut' backward. */
  mode?: 'fanIn' | 'fanOut'
  /** 'leakyRelu' with slope a by default. */
  nonlinearity?: Nonlinearity
}

function kaimingStd(x: Tensor, a: number, options: KaimingOptions): number {
  checkFinite(a, 'a')
  const { mode = 'fanIn', nonlinearity = 'leakyRelu' } = checkOptions(options)
  checkChoice(mode, 'mode', ['fanIn', 'fanOut'])
  return gainOf(nonlinearity, a) / Math.sqrt(fans(x)[mode === 'fanIn' ? 0 : 1])
}

/** Uniform with variance gain²/fan, gain² = 2/(1 + a²) by default (He et al. 2015). */
export function kaimingUniform(
  x: Tensor,
  a = 0,
  g?: Generator,
  options: KaimingOptions = {},
): Tensor {
  const bound = Math.sqrt(3) * kaimingStd(x, a, options)
  return uniform(x, -bound, bound, g)
}

/** Normal with variance gain²/fan, gain² = 2/(1 + a²) by default (He et al. 2015). */
export const kaimingNormal = (
  x: Tensor,
  a = 0,
  g?: Generator,
  options: KaimingOptions = {},
): Tensor => normal(x, 0, kaimingStd(x, a, options), g)

/** Uniform with variance 2·gain²/(fanIn + fanOut) (Glorot & Bengio 2010). */
export function xavierUniform(x: Tensor, gain = 1, g?: Generator): Tensor {
  const [fanIn, fanOut] = fans(x)
  checkFinite(gain, 'gain')
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut))
  return uniform(x, -bound, bound, g)
}

/** Normal with variance 2·gain²/(fanIn + fanOut). */
export function xavierNormal(x: Tensor, gain = 1, g?: Generator): Tensor {
  const [fanIn, fanOut] = fans(x)
  checkFinite(gain, 'gain')
  return normal(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), g)
}

/** One value everywhere. */
export const constant = (x: Tensor, value: number): Tensor =>
  copyInto(checkTensor(x, 'x'), checkNumber(value, 'value'))
export const zeros = (x: Tensor): Tensor => constant(x, 0)
export const ones = (x: Tensor): Tensor => constant(x, 1)

/** A matrix with ones on its diagonal. */
export function identity(x: Tensor): Tensor {
  checkTensor(x, 'x')
  if (x.rank !== 2) {
    throw new ShapeError(`'x' has shape ${shownShape(x.shape)}, expected a matrix`)
  }
  const [rows, cols] = x.shape as [number, number]
  const data = new Float64Array(rows * cols)
  for (let i = 0; i < Math.min(rows, cols); i++) data[i * cols + i] = 1
  return copyInto(x, Tensor.from({ data, shape: x.shape }))
}

/** Normal numbers, drawn again while they lie outside [low, high]. */
export function truncNormal(
  x: Tensor,
  mean = 0,
  std = 1,
  low = -2,
  high = 2,
  g: Generator = defaultGenerator(),
): Tensor {
  checkTensor(x, 'x')
  checkInstance(g, Generator, 'g')
  checkFinite(mean, 'mean')
  checkNumber(std, 'std', 0)
  checkNumber(low, 'low')
  checkNumber(high, 'high')
  // Outside a range of no width nothing would ever be accepted.
  if (!(low < high)) wrong('low', `less than high = ${high}`, low)
  if (mean < low - 4 * std || mean > high + 4 * std) {
    wrong('mean', 'at most four standard deviations outside [low, high]', mean)
  }
  const data = new Float64Array(x.size)
  g.fill(Tensor.from({ data, shape: x.shape }), 'normal', mean, std)
  for (let i = 0; i < data.length; i++) {
    while ((data[i] as number) < low || (data[i] as number) > high)
      data[i] = mean + std * g.normal()
  }
  return copyInto(x, Tensor.from({ data, shape: x.shape }))
}

/**
 * A random orthogonal matrix times `gain`: rows, or columns where there are fewer, are orthonormal; the
 * distribution is uniform (Saxe et al. 2014). Axes after the first count as one.
 */
export function orthogonal(x: Tensor, gain = 1, g: Generator = defaultGenerator()): Tensor {
  checkTensor(x, 'x')
  checkFinite(gain, 'gain')
  checkInstance(g, Generator, 'g')
  if (x.rank < 2) {
    throw new ShapeError(`'x' has shape ${shownShape(x.shape)}, expected at least two axes`)
  }
  const rows = x.shape[0] as number
  const cols = rows === 0 ? 0 : x.size / rows
  const [count, length] = rows <= cols ? [rows, cols] : [cols, rows]
  noGrad(() =>
    scope(() => {
      // Gram–Schmidt in float64, each vector twice, on normal numbers.
      const q = g.fill(Tensor.empty([count, length], 'float64'), 'normal', 0, 1)
      for (let i = 0; i < count; i++) {
        let vector = select(q, 0, i)
        const before = slice(q, 0, 0, i)
        for (let pass = 0; i > 0 && pass < 2; pass++) {
          vector = sub(vector, matmul(matmul(before, vector), before))
        }
        copyInto(select(q, 0, i), div(vector, norm(vector)))
      }
      copyInto(x, reshape(mul(rows <= cols ? q : q.T, gain), x.shape))
    }),
  )
  return x
}
