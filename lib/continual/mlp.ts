/** The network of the field's digit benchmarks. */

import { checkInteger, checkIntegers, requireOptions } from '../engine/check.js'
import { Linear, Sequential } from '../nn/layers.js'
import type { Module } from '../nn/module.js'
import type { Generator } from '../random/generator.js'
import { checkShape, sizeOf } from '../tensor/shape.js'
import type { Scenario } from './scenario.js'

/**
 * A multilayer perceptron with ReLU for a scenario's inputs and outputs.
 *
 * @param hidden widths of the hidden layers; [256, 256] by default
 */
export function mlp(
  scenario: Pick<Scenario, 'shape' | 'outputs'>,
  hidden: readonly number[] = [256, 256],
): (generator: Generator) => Module {
  requireOptions(scenario, 'scenario')
  const inputs = sizeOf(checkShape(scenario.shape, 'scenario.shape'))
  checkInteger(scenario.outputs, 'scenario.outputs', 1)
  for (const width of checkIntegers(hidden, 'hidden')) checkInteger(width, 'hidden', 1)
  return (generator) => {
    const widths = [inputs, ...hidden]
    const layers = hidden.map(
      (width, i) => new Linear(widths[i] as number, width, { activation: 'relu', generator }),
    )
    return new Sequential(
      ...layers,
      new Linear(widths.at(-1) as number, scenario.outputs, { generator }),
    )
  }
}
