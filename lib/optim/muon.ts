/** Muon: orthogonalized momentum. */

import { register } from './algorithm.js'
import { Optimizer, type OptimizerOptions, type Params } from './optimizer.js'
import { lrFactor, type MuonOptions, muonDefaults, orthogonalizing } from './orthogonalized.js'

declare module './algorithm.js' {
  interface AlgorithmOptions {
    muon: MuonOptions
  }
}

const muon = register(
  orthogonalizing<MuonOptions>({
    name: 'muon',
    defaults: muonDefaults,
    check() {},
    normalised: () => null,
    scale: (o, neurons, inputs) => [lrFactor(o.adjustLr, neurons, inputs), 0],
  }),
)

/**
 * Muon (Keller Jordan 2024; PyTorch's torch.optim.Muon): momentum m ← lerp(m, g, 1 − β), Nesterov's
 * u = lerp(g, m, β), O = Newton–Schulz(u), p ← p(1 − lr·λ) − lr·s·O with the shape factor s of
 * `adjustLr`. For hidden matrices and convolution kernels; default learning rate 1e-3. State: one
 * number a parameter.
 *
 * Unlike PyTorch, the update is scaled before its norm is taken, so that tiny gradients are
 * orthogonalized like any other. Unlike Keller Jordan's code, which takes the shape factor from a
 * kernel's last two axes, kernels get that of the matrix that is orthogonalized.
 */
export class Muon extends Optimizer<MuonOptions> {
  constructor(params: Params<MuonOptions>, options: OptimizerOptions<MuonOptions> = {}) {
    super(muon, params, options)
  }
}
