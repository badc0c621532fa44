/** Matrix products of anything that counts as a matrix. */

import { type Compute, matmul as product, recordProduct } from '../autograd/ops/products.js'
import { transpose } from '../autograd/ops/views.js'
import { tracked } from '../autograd/tape.js'
import { type AsyncOptions, runAsync } from '../engine/async.js'
import { begin, number, view } from '../engine/call.js'
import { checkChoice, checkOptions } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { native } from '../engine/native.js'
import { type ArrayLike, checkFloating, toTensor } from '../tensor/interop.js'
import { shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

/** Options of matmul. */
export interface MatmulOptions {
  /** Multiplies by aᵀ (the last two axes exchanged), without a copy. */
  transposeA?: boolean
  transposeB?: boolean
  /** 'bfloat16' rounds float32 factors on the way; sums stay float32. 'float32' by default. */
  compute?: Compute
}

function factors(a: ArrayLike, b: ArrayLike, options: MatmulOptions): [Tensor, Tensor] {
  const { transposeA, transposeB } = checkOptions(options)
  const x = toTensor(a, 'a')
  const y = toTensor(b, 'b')
  return [transposeA ? transpose(x) : x, transposeB ? transpose(y) : y]
}

/** The matrix product a·b; leading axes are batches and broadcast. Differentiable. */
export function matmul(a: ArrayLike, b: ArrayLike, options: MatmulOptions = {}): Tensor {
  const [x, y] = factors(a, b, options)
  return product(x, y, { compute: options.compute ?? 'float32' })
}

/** The product of two matrices on another thread. Differentiable; the gradient is computed when asked for. */
export async function matmulAsync(
  a: ArrayLike,
  b: ArrayLike,
  given: MatmulOptions & AsyncOptions = {},
): Promise<Tensor> {
  const { signal, ...options } = checkOptions(given)
  const [x, y] = factors(a, b, options)
  if (x.rank !== 2 || y.rank !== 2 || x.shape[1] !== y.shape[0]) {
    throw new ShapeError(
      `shapes ${shownShape(x.shape)} and ${shownShape(y.shape)} do not multiply as matrices`,
    )
  }
  const compute = checkChoice(options.compute ?? 'float32', 'compute', [
    'float32',
    'bfloat16',
  ] as const)
  checkFloating(x, 'a')
  checkFloating(y, 'b')
  const recorded = tracked(x, y)
  // Kept: a scope that this was called in ends before the product is there.
  const shape = [x.shape[0] as number, y.shape[1] as number]
  const out = Tensor.empty(shape, x.dtype, x.device).keep()
  await runAsync(
    () => {
      begin()
      for (const matrix of [x, y, out]) view(matrix)
      for (const value of [1, 0, 0, compute === 'bfloat16' ? 1 : 0]) number(value)
      return native.matmulAsync(x.buffer, y.buffer, out.buffer, null)
    },
    { signal },
  )
  return recorded ? recordProduct(out, x, y, compute) : out
}
