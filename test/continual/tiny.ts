/** Small streams and models for the tests: Gaussian clusters, one a class, learned in a moment. */

import type { Split } from '../../lib/continual/index.js'
import type { Dataset } from '../../lib/data/index.js'
import * as nn from '../../lib/nn/index.js'
import { Generator } from '../../lib/random/index.js'

export const width = 16

/** `each` examples a class around random centres. */
export function clusters({ classes = 6, each = 40, seed = 3 } = {}): Split {
  const g = new Generator(seed)
  const centres = Array.from({ length: classes * width }, () => 2 * g.normal())
  const draw = (count: number): Dataset => {
    const n = classes * count
    const labels = Int32Array.from({ length: n }, (_, i) => i % classes)
    const inputs = new Float32Array(n * width)
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < width; j++) {
        inputs[i * width + j] = (centres[(i % classes) * width + j] as number) + g.normal()
      }
    }
    return { inputs, labels, shape: [width] }
  }
  return { train: draw(each), test: draw(Math.ceil(each / 2)) }
}

/** A small network with dropout, so that the default generator counts too. */
export const small =
  (outputs: number, { dropout = 0.1 } = {}) =>
  (generator: Generator) =>
    new nn.Sequential(
      new nn.Linear(width, 24, { activation: 'relu', generator }),
      new nn.Dropout(dropout),
      new nn.Linear(24, outputs, { generator }),
    )

/** All parameters' bits. */
export const bitsOf = (model: nn.Module): number[] =>
  model.parameters().flatMap((x) => [...new Uint32Array(x.data.slice().buffer)])
