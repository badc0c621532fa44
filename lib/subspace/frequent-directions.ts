/**
 * Frequent Directions (Liberty 2013; Ghashami, Liberty, Phillips & Woodruff, SIAM J. Comput. 2016): a
 * sketch B of ℓ rows of a matrix A whose rows come one after the other, with
 * 0 ≤ ‖Ax‖² − ‖Bx‖² ≤ ‖A − A_k‖²_F / (ℓ − k) for every unit x and k < ℓ.
 */

import { checkInteger } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { svd } from '../linalg/index.js'
import { scope, Tensor, zeros } from '../tensor/index.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'

/** The sketch; rows in a buffer of 2ℓ are reduced when it is full. */
export class FrequentDirections {
  #rows: Tensor
  #used = 0

  /**
   * @param dimension length of a row
   * @param size ℓ, rows of the sketch
   */
  constructor(
    readonly dimension: number,
    readonly size: number,
  ) {
    checkInteger(dimension, 'dimension', 1)
    checkInteger(size, 'size', 1)
    this.#rows = zeros([2 * size, dimension]).keep()
  }

  /** Rows in use: at most 2ℓ. */
  get rows(): number {
    return this.#used
  }

  /** Appends rows [n, dimension]. */
  append(given: ArrayLike): void {
    const rows = toTensor(given, 'rows')
    if (rows.rank !== 2 || rows.shape[1] !== this.dimension) {
      throw new ShapeError(
        `'rows' of shape [${rows.shape.join(', ')}] do not fit a sketch of dimension ${this.dimension}`,
      )
    }
    const n = rows.shape[0] as number
    for (let from = 0; from < n; ) {
      if (this.#used === 2 * this.size) this.#shrink()
      const count = Math.min(n - from, 2 * this.size - this.#used)
      const to = this.#rows.slice(0, this.#used, this.#used + count)
      const part = rows.detach().slice(0, from, from + count)
      to.copy_(part)
      to.dispose()
      part.dispose()
      this.#used += count
      from += count
    }
  }

  /** B: at most ℓ rows, descending by norm, orthogonal to each other. */
  sketch(): Tensor {
    this.#shrink()
    return this.#rows.slice(0, 0, this.#used).clone()
  }

  /**
   * The SVD of all rows; from every squared singular value the (ℓ + 1)-th is taken, so that at most ℓ
   * rows stay.
   */
  #shrink(): void {
    scope(() => {
      const { s, vt } = svd(this.#rows.slice(0, 0, this.#used))
      const values = s.data
      const cut = values.length > this.size ? (values[this.size] as number) ** 2 : 0
      const kept = Math.min(this.size, values.length)
      const scale = Float32Array.from({ length: kept }, (_, i) =>
        Math.sqrt(Math.max(0, (values[i] as number) ** 2 - cut)),
      )
      const shrunk = vt.slice(0, 0, kept).mul(Tensor.from({ data: scale, shape: [kept, 1] }))
      this.#rows.slice(0, 0, kept).copy_(shrunk)
      this.#used = scale.findLastIndex((x) => x > 0) + 1
    })
  }

  /** All rows in use, to save. */
  state(): Tensor {
    return this.#rows.slice(0, 0, this.#used).clone()
  }

  /** Takes over saved rows. */
  loadState(given: ArrayLike): void {
    const rows = toTensor(given, 'rows')
    this.#used = 0
    if (rows.size > 0) this.append(rows)
  }

  dispose(): void {
    this.#rows.dispose()
  }
}
