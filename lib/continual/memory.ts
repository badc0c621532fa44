/** A memory of examples that rehearsal draws from. */

import { checkInstance, checkInteger, requireOptions, wrong } from '../engine/check.js'
import { Generator } from '../random/generator.js'
import { gatherInto } from '../tensor/indexing.js'
import { toTensor } from '../tensor/interop.js'
import { Tensor } from '../tensor/tensor.js'
import type { StateValue } from './state.js'
import type { Batch, Strategy } from './strategy.js'

/** Examples drawn from a memory; `logits` [n, outputs] where they are kept. */
export interface Remembered extends Batch {
  logits: Tensor | null
}

/**
 * Reservoir sampling (Vitter 1985, algorithm R): of all examples that ever came, each is kept with the
 * same probability capacity / seen, without knowing how many will come.
 */
export class Reservoir {
  readonly capacity: number
  /** Examples that came so far. */
  seen = 0
  #inputs: Float32Array | null = null
  #logits: Float32Array | null = null
  #targets: Int32Array
  #tasks: Int32Array
  #shape: number[] = []

  /** @param capacity in examples */
  constructor(capacity: number) {
    this.capacity = checkInteger(capacity, 'memory', 1, 1e8)
    this.#targets = new Int32Array(capacity)
    this.#tasks = new Int32Array(capacity)
  }

  /** Examples kept. */
  get size(): number {
    return Math.min(this.seen, this.capacity)
  }

  /** Offers a batch, example after example; `logits` [n, outputs] are kept with them where given. */
  offer(batch: Batch, generator: Generator, logits?: Tensor): void {
    const { tasks } = requireOptions(batch, 'batch')
    const inputs = toTensor(batch.inputs, 'batch.inputs')
    const targets = toTensor(batch.targets, 'batch.targets')
    if (!ArrayBuffer.isView(tasks)) wrong('batch.tasks', 'an Int32Array', tasks)
    checkInstance(generator, Generator, 'generator')
    const n = tasks.length
    const width = inputs.size / n
    this.#inputs ??= new Float32Array(this.capacity * width)
    this.#shape = inputs.shape.slice(1)
    if (this.#inputs.length !== this.capacity * width) {
      wrong('inputs', `inputs of ${this.#inputs.length / this.capacity} values`, inputs.shape)
    }
    const outputs = logits ? logits.size / n : 0
    if (logits) this.#logits ??= new Float32Array(this.capacity * outputs)
    const rows = inputs.contiguous ? inputs : inputs.detach().clone()
    const answers = logits && (logits.contiguous ? logits : logits.detach().clone())
    for (let i = 0; i < n; i++) {
      this.seen++
      const slot = this.seen <= this.capacity ? this.seen - 1 : generator.integer(this.seen)
      if (slot >= this.capacity) continue
      const from = rows.offset + i * width
      this.#inputs.set(rows.array.subarray(from, from + width), slot * width)
      this.#targets[slot] = targets.array[targets.offset + i] as number
      this.#tasks[slot] = tasks[i] as number
      if (answers) {
        const at = answers.offset + i * outputs
        this.#logits?.set(answers.array.subarray(at, at + outputs), slot * outputs)
      }
    }
  }

  /** At most `n` different examples, uniformly; null while the memory is empty. */
  sample(n: number, generator: Generator): Remembered | null {
    const slots = this.#draw(n, generator)
    return slots && this.#at(slots, null)
  }

  /**
   * A batch and behind it at most `n` different examples of the memory, uniformly; the batch itself while
   * the memory is empty.
   */
  extend(batch: Batch, n: number, generator: Generator): Batch {
    const slots = this.#draw(n, generator)
    if (!slots) return batch
    const { inputs, targets, tasks } = this.#at(slots, batch)
    return { inputs, targets, tasks }
  }

  #draw(n: number, generator: Generator): Int32Array | null {
    const { size } = this
    checkInteger(n, 'n', 0)
    checkInstance(generator, Generator, 'generator')
    if (size === 0 || !this.#inputs) return null
    return Int32Array.from(chosen(size, Math.min(n, size), generator))
  }

  /** The examples in some slots, each straight to its place behind those of `first`. */
  #at(slots: Int32Array, first: Batch | null): Remembered {
    const head = first ? first.tasks.length : 0
    const count = head + slots.length
    const index = Tensor.from({ data: slots, shape: [slots.length] })
    const rows = (data: Float32Array, shape: readonly number[], before: Tensor | null) => {
      const out = Tensor.empty([count, ...shape])
      if (before) out.slice(0, 0, head).copy_(before)
      const kept = Tensor.from({ data, shape: [this.capacity, ...shape] })
      gatherInto(kept, 0, index, before ? out.slice(0, head, count) : out)
      return out
    }
    const integers = (kept: Int32Array, before: Int32Array | null) => {
      const out = new Int32Array(count)
      if (before) out.set(before)
      for (let i = 0; i < slots.length; i++) out[head + i] = kept[slots[i] as number] as number
      return out
    }
    const labels = first && (toTensor(first.targets, 'batch.targets').data as Int32Array)
    return {
      inputs: rows(
        this.#inputs as Float32Array,
        this.#shape,
        first && toTensor(first.inputs, 'batch.inputs'),
      ),
      targets: Tensor.from({ data: integers(this.#targets, labels), shape: [count] }),
      tasks: integers(this.#tasks, first?.tasks ?? null),
      logits:
        this.#logits && !first
          ? rows(this.#logits, [this.#logits.length / this.capacity], null)
          : null,
    }
  }

  state(): StateValue {
    return {
      seen: this.seen,
      shape: this.#shape,
      inputs: this.#inputs,
      logits: this.#logits,
      targets: this.#targets,
      tasks: this.#tasks,
    }
  }

  loadState(state: StateValue): void {
    const saved = state as {
      seen: number
      shape: number[]
      inputs: Float32Array | null
      logits: Float32Array | null
      targets: Int32Array
      tasks: Int32Array
    }
    if (saved?.targets?.length !== this.capacity) {
      wrong('state', `a memory of ${this.capacity} examples`, saved?.targets?.length)
    }
    this.seen = checkInteger(saved.seen, 'state.seen', 0)
    this.#shape = saved.shape
    this.#inputs = saved.inputs?.slice() ?? null
    this.#logits = saved.logits?.slice() ?? null
    this.#targets = saved.targets.slice()
    this.#tasks = saved.tasks.slice()
  }
}

/** A strategy that draws from a memory of examples, and keeps nothing else. */
export abstract class Rehearsal implements Strategy {
  abstract readonly name: string
  readonly memory: Reservoir

  /**
   * @param memory examples kept
   * @param replay examples drawn a step, checked alone
   */
  constructor(memory: number, replay?: number) {
    this.memory = new Reservoir(memory)
    if (replay !== undefined) checkInteger(replay, 'replay', 1)
  }

  state(): StateValue {
    return this.memory.state()
  }

  loadState(state: StateValue): void {
    this.memory.loadState(state)
  }
}

/** `count` different numbers below `size`, uniformly (Floyd's algorithm keeps the draws at `count`). */
export function chosen(size: number, count: number, generator: Generator): number[] {
  checkInteger(size, 'size', 0)
  checkInteger(count, 'count', 0, size)
  checkInstance(generator, Generator, 'generator')
  const found = new Set<number>()
  for (let top = size - count; top < size; top++) {
    const pick = generator.integer(top + 1)
    found.add(found.has(pick) ? top : pick)
  }
  return [...found]
}
