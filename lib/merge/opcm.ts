/**
 * OPCM: orthogonal projection-based continual merging (Tang et al., "Merging Models on the Fly Without
 * Retraining", arXiv 2501.09522; official code tanganke/fusion_bench, method/opcm).
 *
 * Models come one after the other. With the merged task vector Δ_m = U·S·Vᵀ of a linear weight and the
 * new one Δ_t: P = UᵀΔ_tV loses its diagonal and its leading block of the size at which the cumulated
 * singular values pass a fraction α of their sum; Δ'_t = U·P·Vᵀ; the new merged vector is
 * (λ_{t−1}Δ_m + Δ'_t)/λ_t. Other parameters are added without projection. λ_t makes the norm of the whole
 * merged vector the mean norm of the task vectors seen.
 *
 * Since U, V and the split do not depend on Δ_m's scale, S_t = λ_tΔ_t = S_{t−1} + Δ'_t is enough, tensor by
 * tensor, and λ_T comes in at the end: memory does not grow with the number of models.
 */

import { checkFunction, checkNumber, checkOptions } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { svd } from '../linalg/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { type ArrayLike, checkFloating, toTensor } from '../tensor/interop.js'
import { sameShape, shownShape } from '../tensor/shape.js'
import type { MergeMethod } from './stream.js'

/** Options of opcm. */
export interface OpcmOptions {
  /** Fraction of the singular values' sum whose directions are protected; 0.5 by default. */
  alpha?: number
  /**
   * Which tensors are linear weights; those of two axes, except embeddings ('emb', 'wte', 'wpe' in the
   * name), by default.
   */
  linear?: (name: string, shape: readonly number[]) => boolean
}

const linearWeights = (name: string, shape: readonly number[]): boolean =>
  shape.length === 2 && Math.min(...shape) > 1 && !/emb|wte|wpe/i.test(name)

/**
 * Δ_t without what touches the merged vector's leading directions or its diagonal.
 *
 * With full bases U·Uᵀ = 1, so that Δ' = Δ_t − U·(mask ∘ UᵀΔ_tV)·Vᵀ needs the thin ones alone.
 */
export function projectedTask(before: ArrayLike, next: ArrayLike, alpha: number): Tensor {
  const merged = checkFloating(toTensor(before, 'merged'), 'merged')
  const task = checkFloating(toTensor(next, 'task'), 'task')
  if (merged.rank !== 2 || !sameShape(merged.shape, task.shape)) {
    throw new ShapeError(
      `'merged' and 'task' have shapes ${shownShape(merged.shape)} and ${shownShape(task.shape)}, expected two matrices of one shape`,
    )
  }
  checkNumber(alpha, 'alpha', 0, 1)
  return scope(() => {
    const { u, s, vt } = svd(merged)
    const values = Array.from(s.data)
    const total = values.reduce((sum, x) => sum + x, 0)
    if (total === 0) return task.clone()
    let split = 0
    for (let sum = 0; split < values.length; split++) {
      sum += values[split] as number
      if (sum > alpha * total) break
    }
    // As in the official code the block ends before the value with which α is passed.
    const k = values.length
    const p = u.T.matmul(task).matmul(vt.T)
    const data = p.data
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) if (i !== j && !(i < split && j < split)) data[i * k + j] = 0
    }
    return task.sub(u.matmul(p).matmul(vt))
  })
}

/** The method; the order of checkpoints is the order in which they are merged. */
export function opcm(options: OpcmOptions = {}): MergeMethod {
  const { alpha = 0.5, linear = linearWeights } = checkOptions(options)
  checkNumber(alpha, 'alpha', 0, 1)
  checkFunction(linear, 'linear')
  return {
    name: 'opcm',
    needsBase: true,
    whole: linear,
    piece(piece) {
      let merged = piece.task(0)
      const project = linear(piece.name, piece.shape)
      for (let i = 1; i < piece.count; i++) {
        const task = piece.task(i)
        const next = merged.add(project ? projectedTask(merged, task, alpha) : task)
        merged.dispose()
        task.dispose()
        merged = next
      }
      return merged
    },
    factor(norm, taskNorms) {
      const mean = taskNorms.reduce((sum, x) => sum + x, 0) / taskNorms.length
      return norm > 0 ? mean / norm : 1
    },
  }
}
