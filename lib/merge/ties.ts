/**
 * TIES-Merging (Yadav et al., arXiv 2306.01708): of every task vector only the largest entries stay
 * (trim), the sign of an entry is that of the sum over tasks (elect), and the entries of that sign are
 * averaged (disjoint mean). As in the official code the trim is over a whole task vector and keeps all
 * entries that reach the threshold.
 */

import { checkNumber, checkOptions } from '../engine/check.js'
import { Tensor } from '../tensor/index.js'
import type { MergeMethod, Piece, Sources } from './stream.js'

/** Options of ties. */
export interface TiesOptions {
  /** The fraction of a task vector that stays; 0.2 by default. */
  density?: number
  /** The merged task vector is multiplied by this; 1 by default. */
  scale?: number
}

const bitsOf = (x: Tensor): Uint32Array => {
  const { data } = x.contiguous ? x : x.clone()
  return new Uint32Array(data.buffer, data.byteOffset, data.length)
}

/**
 * The k-th largest magnitude of each task vector: magnitudes of float32 are ordered as their bits, so
 * that counting the upper 16, then the lower 16 of those that share them, takes two passes and no sort.
 */
function thresholds(sources: Sources, density: number): number[] {
  const counts = Array.from({ length: sources.count }, () => new Float64Array(1 << 15))
  let total = 0
  const each = (use: (i: number, bits: Uint32Array) => void) => {
    for (const piece of sources.pieces()) {
      total += piece.task(0).size
      for (let i = 0; i < sources.count; i++) {
        const delta = piece.task(i)
        use(i, bitsOf(delta))
        delta.dispose()
      }
    }
  }
  each((i, bits) => {
    const own = counts[i] as Float64Array
    for (let j = 0; j < bits.length; j++) {
      const bin = ((bits[j] as number) >>> 16) & 0x7fff
      own[bin] = (own[bin] as number) + 1
    }
  })
  const wanted = Math.max(1, Math.round(density * total))
  const upper = counts.map((own) => {
    let left = wanted
    let bin = own.length - 1
    while (bin > 0 && left > (own[bin] as number)) left -= own[bin--] as number
    return { bin, left }
  })
  const lower = counts.map(() => new Float64Array(1 << 16))
  each((i, bits) => {
    const own = lower[i] as Float64Array
    const { bin } = upper[i] as { bin: number }
    for (let j = 0; j < bits.length; j++) {
      const b = bits[j] as number
      if (((b >>> 16) & 0x7fff) !== bin) continue
      const at = b & 0xffff
      own[at] = (own[at] as number) + 1
    }
  })
  return lower.map((own, i) => {
    const { bin, left: needed } = upper[i] as { bin: number; left: number }
    let left = needed
    let at = own.length - 1
    while (at > 0 && left > (own[at] as number)) left -= own[at--] as number
    return new Float32Array(Uint32Array.of((bin << 16) | at).buffer)[0] as number
  })
}

function mergePiece(piece: Piece, limits: readonly number[], scale: number): Tensor {
  const base = piece.base()
  const n = base.size
  const sums = [new Float64Array(n), new Float64Array(n)] as const
  const counts = [new Uint16Array(n), new Uint16Array(n)] as const
  for (let i = 0; i < piece.count; i++) {
    const delta = piece.task(i)
    const values = delta.data
    const limit = limits[i] as number
    for (let j = 0; j < n; j++) {
      const x = values[j] as number
      if (x === 0 || Math.abs(x) < limit) continue
      const side = x > 0 ? 0 : 1
      sums[side][j] = (sums[side][j] as number) + x
      counts[side][j] = (counts[side][j] as number) + 1
    }
    delta.dispose()
  }
  const merged = new Float32Array(n)
  for (let j = 0; j < n; j++) {
    const side = (sums[0][j] as number) + (sums[1][j] as number) >= 0 ? 0 : 1
    const count = counts[side][j] as number
    if (count > 0) merged[j] = (scale * (sums[side][j] as number)) / count
  }
  return base.add(Tensor.from({ data: merged, shape: base.shape }))
}

/** Trim, elect sign, disjoint mean. */
export function ties(options: TiesOptions = {}): MergeMethod {
  const { density = 0.2, scale = 1 } = checkOptions(options)
  checkNumber(density, 'density', Number.MIN_VALUE, 1)
  checkNumber(scale, 'scale', -100, 100)
  let limits: number[] = []
  return {
    name: 'ties',
    needsBase: true,
    before(sources) {
      limits = thresholds(sources, density)
    },
    piece: (piece) => mergePiece(piece, limits, scale),
  }
}
