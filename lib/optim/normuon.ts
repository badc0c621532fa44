/** NorMuon: Muon with normalised neurons. */

import { checkNumber } from '../engine/check.js'
import { checkDecay, register } from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'
import { lrFactor, type MuonOptions, muonDefaults, orthogonalizing } from './orthogonalized.js'

/** Options of NorMuon. */
export interface NorMuonOptions extends MuonOptions {
  /** Decay of the neurons' second moment; 0.95 by default. */
  beta2: number
  /** Added to the root of the second moment; 1e-10 by default, as in the authors' code. */
  normEps: number
}

declare module './algorithm.js' {
  interface AlgorithmOptions {
    normuon: NorMuonOptions
  }
}

const normuon = register(
  orthogonalizing<NorMuonOptions>({
    name: 'normuon',
    defaults: { ...muonDefaults, beta2: 0.95, normEps: 1e-10 },
    check(o) {
      checkDecay(o.beta2, 'beta2')
      checkNumber(o.normEps, 'normEps', 0, 1)
    },
    normalised: (o) => [o.beta2, o.normEps],
    scale: (o, neurons, inputs) =>
      o.adjustLr === 'match-rms-adamw'
        ? [1, 0.2 * Math.sqrt(neurons * inputs)]
        : [lrFactor(o.adjustLr, neurons, inputs), 0],
  }),
)

/**
 * NorMuon (arXiv 2510.05491): Muon's O with each neuron (row) divided by the root of its running mean
 * square, v ← β₂v + (1 − β₂)·mean(O²), Ô = O/(√v + ε); then p ← p(1 − lr·λ) − lr·s·Ô‖O‖/‖Ô‖ with the
 * shape factor s, as in the authors' code (zichongli5/NorMuon), or with
 * `adjustLr: 'match-rms-adamw'` p ← p(1 − lr·λ) − lr·0.2·√(rows·cols)·Ô/‖Ô‖, as in the paper.
 * State beyond Muon's: one number a neuron. Options and defaults otherwise as in Muon.
 *
 * A convolution's neuron is its output channel. (The authors' code takes the mean over a kernel's
 * last axis alone.)
 */
export class NorMuon extends Optimizer<NorMuonOptions> {
  constructor(params: Params<NorMuonOptions>, options: OptimizerOptions<NorMuonOptions> = {}) {
    super(normuon, params, options)
  }
}
