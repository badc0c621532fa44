/** Naive fine-tuning: no measure against forgetting, the lower yardstick. */

import type { Strategy } from '../strategy.js'

/** Has no hooks: the loop alone. */
export class Naive implements Strategy {
  readonly name = 'naive'
}
