/** Spiking layers. */

import { type LifOptions, lif, neuron } from '../autograd/ops/spiking.js'
import { checkOptions } from '../engine/check.js'
import type { Tensor } from '../tensor/tensor.js'
import { Module } from './module.js'

/** Leaky integrate-and-fire neurons over [time, …]: currents in, spikes out. See `lif`. */
export class LIF extends Module {
  /** Potentials after the last call, where the neurons are stateful; null starts at zero. */
  state: Tensor | null = null
  readonly #options: LifOptions
  readonly #stateful: boolean

  /** @param options those of `lif`, and `stateful`: whether a call goes on where the last ended */
  constructor(given: Omit<LifOptions, 'state'> & { stateful?: boolean } = {}) {
    super()
    const { stateful = false, ...options } = checkOptions(given)
    neuron(options)
    this.#options = options
    this.#stateful = stateful
  }

  forward(x: Tensor): Tensor {
    const { spikes, state } = lif(x, { ...this.#options, state: this.state })
    if (this.#stateful) {
      this.state?.dispose()
      this.state = state.keep()
    }
    return spikes
  }

  /** Starts the next call at zero. */
  resetState(): void {
    this.state?.dispose()
    this.state = null
  }
}
