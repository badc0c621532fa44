/** Dropout: what is dropped is told by the random numbers' position, so that no mask is stored. */

import { begin, number, view } from '../../engine/call.js'
import { native } from '../../engine/native.js'
import type { Generator } from '../../random/generator.js'
import { Tensor } from '../../tensor/tensor.js'
import { record, tracked, unread } from '../tape.js'
import { dense, overGradient } from './memory.js'

/** Zeroes entries with probability p and scales the others by 1/(1 − p); one number an entry. */
export const dropout = (x: Tensor, p: number, generator: Generator): Tensor =>
  dropoutAt(x, p, generator.seed, generator.skip(x.size))

/** With `last`, as a rule that needs x for nothing else, it may be written over x. */
function dropoutAt(x: Tensor, p: number, seed: number, position: number, last = false): Tensor {
  const input = dense(x)
  const y = last ? overGradient(x, x) : Tensor.empty(x.shape, x.dtype, x.device)
  begin()
  view(input)
  view(y)
  number(seed)
  number(position)
  // u < p for u = j/2^24 is j < ⌈p·2^24⌉.
  number(Math.ceil(p * 2 ** 24))
  number(p < 1 ? 1 / (1 - p) : 0)
  native.dropout(input.buffer, y.buffer)
  if (input !== x) input.dispose()
  return tracked(x) ? unread(record(y, [x], (g) => [dropoutAt(g, p, seed, position, true)])) : y
}
