/** Averaged gradient episodic memory: no step may raise the memory's loss, to first order. */

import { checkOptions } from '../../engine/check.js'
import { ShapeError } from '../../engine/errors.js'
import { binaryInto } from '../../tensor/elementwise.js'
import { grad, noGrad, scope, type Tensor } from '../../tensor/index.js'
import { checkTensors } from '../../tensor/interop.js'
import { sameShape } from '../../tensor/shape.js'
import { wholeBatch } from '../batch.js'
import type { Context } from '../context.js'
import { Rehearsal } from '../memory.js'

/** Options of AGem. */
export interface AGemOptions {
  /** Examples kept of earlier tasks; 200 by default. */
  memory?: number
  /** Examples drawn for the reference gradient; as many as the batch has by default. */
  replay?: number
}

const dot = (a: Tensor, b: Tensor) => a.mul(b).sum().item()

/**
 * g ← g − (g·r / r·r) r where g·r < 0, over all parameters together.
 *
 * @param grads changed in place
 * @returns g·r before
 */
export function projectConflict(grads: readonly Tensor[], reference: readonly Tensor[]): number {
  checkTensors(grads, 'grads')
  checkTensors(reference, 'reference')
  if (
    reference.length !== grads.length ||
    grads.some((g, i) => !sameShape(g.shape, (reference[i] as Tensor).shape))
  ) {
    throw new ShapeError("'reference' must have the shapes of 'grads'")
  }
  return scope(() =>
    noGrad(() => {
      const product = grads.reduce((sum, g, i) => sum + dot(g, reference[i] as Tensor), 0)
      if (product >= 0) return product
      const size = reference.reduce((sum, r) => sum + dot(r, r), 0)
      // Its square may be below the smallest number.
      if (size === 0) return product
      grads.forEach((g, i) => {
        binaryInto('sub', g, (reference[i] as Tensor).mul(product / size), g)
      })
      return product
    }),
  )
}

/**
 * A-GEM (Chaudhry et al., arXiv 1812.00420): where the gradient g points against the gradient r of a
 * batch from the memory (g·r < 0), it is projected to be orthogonal to it. The memory holds examples of
 * finished tasks: a uniform sample of all that came, where the paper keeps as many of every class.
 */
export class AGem extends Rehearsal {
  readonly name = 'a-gem'
  readonly options: { memory: number; replay: number | undefined }

  constructor(options: AGemOptions = {}) {
    const { memory = 200, replay } = checkOptions(options)
    super(memory, replay)
    this.options = { memory, replay }
  }

  afterBackward(c: Context): void {
    const old = this.memory.sample(this.options.replay ?? c.fresh.tasks.length, c.generator)
    if (!old) return
    const reference = grad(c.classify(c.forward(old.inputs), old), c.parameters)
    const pairs = c.parameters.flatMap((x, i) =>
      x.grad ? [[x.grad, reference[i] as Tensor] as const] : [],
    )
    projectConflict(
      pairs.map(([g]) => g),
      pairs.map(([, r]) => r),
    )
  }

  afterExperience(c: Context): void {
    this.memory.offer(wholeBatch(c.trainData, c.position.experience), c.generator)
  }
}
