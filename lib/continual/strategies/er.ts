/** Experience replay: every batch is joined by one from a reservoir. */

import { checkOptions } from '../../engine/check.js'
import type { Context } from '../context.js'
import { Rehearsal } from '../memory.js'
import type { Batch } from '../strategy.js'

/** Options of Er. */
export interface ErOptions {
  /** Examples kept; 200 by default. */
  memory?: number
  /** Examples drawn a step; as many as the batch has by default. */
  replay?: number
}

/**
 * ER (Chaudhry et al., arXiv 1902.10486; Riemer et al., arXiv 1810.11910): the loss is the mean over the
 * batch and as many examples from the memory, which is filled by reservoir sampling after each step.
 */
export class Er extends Rehearsal {
  readonly name = 'er'
  readonly options: { memory: number; replay: number | undefined }

  constructor(options: ErOptions = {}) {
    const { memory = 200, replay } = checkOptions(options)
    super(memory, replay)
    this.options = { memory, replay }
  }

  batch(c: Context, batch: Batch): Batch {
    return this.memory.extend(batch, this.options.replay ?? batch.tasks.length, c.generator)
  }

  afterStep(c: Context): void {
    this.memory.offer(c.fresh, c.generator)
  }
}
