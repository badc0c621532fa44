/** Leaky integrate-and-fire neurons with surrogate gradients. */

import { begin, number, viewAs } from '../../engine/call.js'
import { checkChoice, checkNumber, checkOptions } from '../../engine/check.js'
import { ArgumentError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkWideFloat, toTensor } from '../../tensor/interop.js'
import { sameShape, shownShape } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { isRecording, record, tracked } from '../tape.js'
import { contiguous, copy, fullLike } from './memory.js'

/** In the order of native/include/palimpsest/kernels/spiking.h. */
const surrogates = ['atan', 'sigmoid', 'fastSigmoid', 'rectangle'] as const

/** Steepness α by surrogate where none is given. */
const steepness = { atan: 2, sigmoid: 4, fastSigmoid: 25, rectangle: 1 } as const

/** Options of lif. */
export interface LifOptions {
  /** How much of the potential stays from one step to the next; 0.5 by default (1 − 1/τ with τ = 2). */
  decay?: number
  /** The potential at which a neuron fires; 1 by default. */
  threshold?: number
  /** 'soft' (default) subtracts the threshold after a spike, 'hard' sets the potential to 0. */
  reset?: 'soft' | 'hard'
  /**
   * The slope that stands in for the spike's, of z = potential − threshold (Neftci et al. 2019):
   * 'atan' (default) α/2/(1 + (π/2·α·z)²), 'sigmoid' ασ(αz)(1 − σ(αz)), 'fastSigmoid'
   * 1/(1 + α|z|)², 'rectangle' 1/α where |z| < α/2.
   */
  surrogate?: (typeof surrogates)[number]
  /** α: 2, 4, 25, 1 by default, in the order above. */
  alpha?: number
  /** Whether gradients stop at resets; false by default. */
  detachReset?: boolean
  /** The potentials before the first step, x's shape without time; zeros by default. */
  state?: ArrayLike | null
}

/** The options of a neuron, checked, with their defaults. */
export function neuron(options: LifOptions) {
  const { decay = 0.5, threshold = 1, reset = 'soft', surrogate = 'atan' } = checkOptions(options)
  checkNumber(decay, 'decay', 0, 1)
  checkNumber(threshold, 'threshold', 0)
  checkChoice(reset, 'reset', ['soft', 'hard'])
  checkChoice(surrogate, 'surrogate', surrogates)
  const alpha = checkNumber(options.alpha ?? steepness[surrogate], 'alpha', Number.MIN_VALUE)
  return { decay, threshold, reset, surrogate, alpha }
}

/**
 * Leaky integrate-and-fire over time: u_t = decay·v_{t−1} + x_t, a spike where u_t ≥ threshold, and v_t
 * is u_t after the reset. The gradient goes back through time with a surrogate for the spike's slope.
 *
 * @param currents x, [time, …]
 * @returns the spikes (0 or 1), like x, and the potentials after the last step (not tracked), which
 *   the next call may take as `state`
 */
export function lif(
  currents: ArrayLike,
  options: LifOptions = {},
): { spikes: Tensor; state: Tensor } {
  const x = toTensor(currents, 'currents')
  const { decay, threshold, reset, surrogate, alpha } = neuron(options)
  if (x.rank === 0) throw new ShapeError("'currents' is a scalar, expected [time, …]")
  checkWideFloat(x, 'currents')
  const shape = x.shape.slice(1)
  const given = options.state ? toTensor(options.state, 'state') : null
  if (given && (!sameShape(given.shape, shape) || given.dtype !== x.dtype)) {
    throw new ShapeError(
      `'state' is ${given.dtype} ${shownShape(given.shape)}, expected ${x.dtype} ${shownShape(shape)}`,
    )
  }
  const input = contiguous(x.detach())
  const spikes = Tensor.empty(x.shape, x.dtype, x.device)
  const potentials = Tensor.empty(x.shape, x.dtype, x.device)
  const state = given ? copy(given) : fullLike(Tensor.empty(shape, x.dtype, x.device), 0)
  const time = x.shape[0] as number
  const matrix = [time, state.size]
  const write = (t: Tensor) => viewAs(t, matrix, [state.size, 1])
  const numbers = () => {
    number(decay)
    number(threshold)
    number(reset === 'hard')
  }
  begin()
  for (const t of [input, potentials, spikes]) write(t)
  viewAs(state, [state.size], [1])
  numbers()
  native.lif(input.buffer, potentials.buffer, spikes.buffer, state.buffer)
  if (!tracked(x)) return { spikes, state }
  record(spikes, [x], (g) => {
    if (isRecording()) throw new ArgumentError('a surrogate gradient has no gradient of its own')
    const dspikes = contiguous(g)
    const dx = Tensor.empty(x.shape, x.dtype, x.device)
    begin()
    for (const t of [potentials, dspikes, dx]) write(t)
    numbers()
    number(surrogates.indexOf(surrogate))
    number(alpha)
    number(options.detachReset ?? false)
    native.lifBackward(potentials.buffer, dspikes.buffer, dx.buffer)
    return [dx]
  })
  return { spikes, state }
}
