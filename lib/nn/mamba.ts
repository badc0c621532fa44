/** The Mamba block. */

import {
  add,
  causalConv1d,
  exp,
  linear,
  mul,
  neg,
  reshape,
  selectiveScan,
  silu,
  slice,
  softplus,
} from '../autograd/ops/index.js'
import { checkInteger, checkNumber, checkOptions } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { checkGenerator, defaultGenerator, type Generator } from '../random/index.js'
import { ones } from '../tensor/create.js'
import { toTensor } from '../tensor/interop.js'
import { shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { uniform } from './init.js'
import { Linear } from './layers.js'
import { Module, parameter } from './module.js'
import { RMSNorm } from './norm.js'

/** Options of Mamba, with the paper's defaults. */
export interface MambaOptions {
  /** N, states a channel; 16. */
  states?: number
  /** Taps of the causal convolution; 4. */
  taps?: number
  /** The inner width over the width; 2. */
  expand?: number
  /** Rank of the step's projection; ⌈width/16⌉. */
  rank?: number
  generator?: Generator
}

/**
 * Mamba (Gu & Dao 2023, figure 3): two projections; one goes through a causal convolution, SiLU and the
 * selective scan, and is gated by SiLU of the other. [batch, time, width] in and out; no norm and no
 * residual connection (see MambaBlock). Initial values as in the paper's section 3.6: A = −(1 … N),
 * steps log-uniform in [0.001, 0.1].
 */
export class Mamba extends Module {
  readonly inProj: Linear
  /** [inner, taps]. */
  readonly convWeight: Tensor
  readonly convBias: Tensor
  /** inner → rank + 2·states: δ's low-rank input, B, C. */
  readonly xProj: Linear
  readonly dtProj: Linear
  /** log(−A), [inner, states]. */
  readonly aLog: Tensor
  readonly d: Tensor
  readonly outProj: Linear
  readonly inner: number
  readonly states: number
  readonly rank: number

  constructor(
    readonly width: number,
    options: MambaOptions = {},
  ) {
    super()
    const { states = 16, taps = 4, expand = 2, rank, generator } = checkOptions(options)
    checkInteger(width, 'width', 1)
    this.states = checkInteger(states, 'states', 1)
    checkInteger(taps, 'taps', 1)
    checkNumber(expand, 'expand')
    checkGenerator(generator)
    this.inner = checkInteger(Math.round(width * expand), 'width · expand', 1)
    this.rank = checkInteger(rank ?? Math.ceil(width / 16), 'rank', 1)
    const { inner } = this
    const drawn = generator ? { generator } : {}
    this.inProj = new Linear(width, 2 * inner, { bias: false, ...drawn })
    const bound = 1 / Math.sqrt(taps)
    this.convWeight = parameter(uniform(Tensor.empty([inner, taps]), -bound, bound, generator))
    this.convBias = parameter(uniform(Tensor.empty([inner]), -bound, bound, generator))
    this.xProj = new Linear(inner, this.rank + 2 * states, { bias: false, ...drawn })
    this.dtProj = new Linear(this.rank, inner, drawn)
    uniform(this.dtProj.weight, -(this.rank ** -0.5), this.rank ** -0.5, generator)
    const random = generator ?? defaultGenerator()
    const steps = (this.dtProj.bias as Tensor).array
    for (let i = 0; i < inner; i++) {
      const step = Math.max(1e-4, 0.001 * 100 ** random.uniform())
      steps[i] = step + Math.log(-Math.expm1(-step)) // softplus⁻¹
    }
    const logs = Float32Array.from({ length: inner * states }, (_, i) => Math.log(1 + (i % states)))
    this.aLog = parameter(Tensor.from({ data: logs, shape: [inner, states] }))
    this.d = parameter(ones([inner]))
    this.outProj = new Linear(inner, width, { bias: false, ...drawn })
  }

  forward(input: Tensor): Tensor {
    const x = toTensor(input, 'x')
    if (x.rank !== 3 || x.shape[2] !== this.width) {
      throw new ShapeError(
        `'x' has shape ${shownShape(x.shape)}, expected [batch, time, ${this.width}]`,
      )
    }
    const { inner, rank, states } = this
    const both = this.inProj.call(x)
    const u = silu(causalConv1d(slice(both, 2, 0, inner), this.convWeight, this.convBias))
    const parts = this.xProj.call(u)
    const low = reshape(slice(parts, 2, 0, rank), [-1, rank])
    const step = softplus(linear(low, this.dtProj.weight, this.dtProj.bias))
    const delta = reshape(step, u.shape)
    const b = slice(parts, 2, rank, rank + states)
    const c = slice(parts, 2, rank + states)
    const y = selectiveScan(u, delta, neg(exp(this.aLog)), b, c, this.d)
    return this.outProj.call(mul(y, silu(slice(both, 2, inner))))
  }
}

/** x + Mamba(RMSNorm(x)). */
export class MambaBlock extends Module {
  readonly norm: RMSNorm
  readonly mixer: Mamba

  constructor(width: number, options: MambaOptions & { eps?: number } = {}) {
    super()
    const { eps = 1e-5 } = checkOptions(options)
    this.norm = new RMSNorm(checkInteger(width, 'width', 1), { eps })
    this.mixer = new Mamba(width, options)
  }

  forward(x: Tensor): Tensor {
    return add(x, this.mixer.call(this.norm.call(x)))
  }
}
