/** Which layers the methods that protect subspaces of inputs look after. */

import { Linear } from '../nn/layers.js'
import type { Tensor } from '../tensor/index.js'
import type { Context } from './context.js'

/** All Linear layers by their weight's path. */
function linears({ model }: Context): [path: string, layer: Linear][] {
  const found: [string, Linear][] = []
  for (const [path, layer] of model.namedModules()) {
    if (layer instanceof Linear) found.push([path ? `${path}.weight` : 'weight', layer])
  }
  return found
}

/** Linear layers by their weight's path, the last only where the tasks share it. */
export const protectedLinears = (c: Context): [path: string, layer: Linear][] =>
  linears(c).slice(0, c.scenario.setting === 'task' ? -1 : undefined)

/** The parameters that move freely: the last layer's where tasks have heads of their own. */
export function ownHead(c: Context): ReadonlySet<Tensor> {
  const last = c.scenario.setting === 'task' ? linears(c).at(-1)?.[1] : undefined
  return new Set(last?.parameters())
}
