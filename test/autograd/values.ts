import { Tensor } from '../../lib/index.js'

/** Float64 values in [low, high) that stay away from zero, where many functions have kinks or poles. */
export function values(shape: number[], low = -2, high = 2, seed = 1): Tensor {
  const n = shape.reduce((a, b) => a * b, 1)
  const data = Float64Array.from({ length: n }, (_, i) => {
    const u = Math.abs(Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453) % 1
    const x = low + (high - low) * u
    return Math.abs(x) < 0.05 ? x + 0.1 : x
  })
  return Tensor.from({ data, shape })
}

/** int32 of any shape. */
export function ints(list: number[], shape: number[] = [list.length]): Tensor {
  return Tensor.from({ data: Int32Array.from(list), shape })
}
