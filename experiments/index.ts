/** All experiments by id, loaded when they are asked for. */

import type { Experiment } from './experiment.js'

export const experiments: Record<string, () => Promise<{ default: Experiment }>> = {
  // id: () => import('./id.js'),
}
