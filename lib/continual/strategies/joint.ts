/** Joint training: everything seen so far at once, the upper yardstick. */

import type { Context } from '../context.js'
import type { Strategy, TaskDataset } from '../strategy.js'

/**
 * Every experience trains on the examples of all experiences so far, from the parameters of the last.
 * Needs the memory of all data: the only strategy here that grows with the stream.
 */
export class Joint implements Strategy {
  readonly name = 'joint'

  data(c: Context): TaskDataset {
    const { scenario, position } = c
    const parts = scenario.experiences.slice(0, position.experience + 1).map((e) => e.train())
    const count = parts.reduce((sum, { labels }) => sum + labels.length, 0)
    const width = scenario.shape.reduce((a, b) => a * b, 1)
    const inputs = new Float32Array(count * width)
    const labels = new Int32Array(count)
    const tasks = new Int32Array(count)
    let at = 0
    parts.forEach((part, task) => {
      inputs.set(part.inputs, at * width)
      labels.set(part.labels, at)
      tasks.fill(task, at, at + part.labels.length)
      at += part.labels.length
    })
    return { inputs, labels, tasks, shape: scenario.shape }
  }
}
