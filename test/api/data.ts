/** Data sets for the tables, and what must be refused in their place. */

import type { Dataset } from '../../lib/data/index.js'

/** Four examples of two classes with `width` values each. */
export const examples = (width: number): Dataset => ({
  inputs: Float32Array.from({ length: 4 * width }, (_, i) => i / (4 * width)),
  labels: Int32Array.of(0, 1, 0, 1),
  shape: [width],
})

/** What is no object of the wanted kind at all. */
export const nothing = { undefined, null: null, 'a number': 7, 'an empty object': {} }
