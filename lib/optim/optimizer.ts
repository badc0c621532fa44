/** What all optimizers share: parameter groups, checks, state, and the two ways to give gradients. */

import { type AsyncOptions, runAsync } from '../engine/async.js'
import { views } from '../engine/call.js'
import { checkInteger, checkNumber, wrong } from '../engine/check.js'
import { ArgumentError, DTypeError, NumericalError, ShapeError } from '../engine/errors.js'
import type { NativeBuffer, NativeJob } from '../engine/native.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { allFinite } from '../tensor/reduce.js'
import { type Shape, sameShape, shownShape, sizeOf, stridesOf } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'

/** A parameter: a tensor, or bare memory that is updated in place. */
export type Parameter = ArrayLike

/** Parameters with options of their own. */
export type ParamGroup<Options> = { params: Parameter[] } & Partial<Options>

/** Options that every optimizer has. */
export interface CommonOptions {
  /** Learning rate. */
  lr: number
  /** The global norm that gradients are scaled down to, over the whole group; none by default. */
  maxGradNorm?: number | undefined
}

/** What to do when a gradient holds NaN or Inf. */
export type NonFinite = 'throw' | 'skip'

/** A saved optimizer: state by parameter number, and the groups' options. */
export interface OptimizerState {
  /** The optimizer's name: loading another's state is refused. */
  kind: string
  state: Record<string, Float32Array | number>[]
  paramGroups: ({ params: number[] } & Record<string, unknown>)[]
}

/** One parameter with its state. */
export interface Slot {
  /** The parameter as a float32 vector over the caller's memory. */
  flat: Tensor
  shape: Shape
  /** Where `.grad` is looked for. */
  owner: Tensor | null
  buffers: Record<string, Float32Array>
  /** Steps taken. */
  step: number
}

/** A group as `paramGroups` shows it: its options may be changed between steps. */
export type LiveGroup<Options> = { params: Parameter[] } & Options

/** A native call that has been checked: `run` writes its arguments, `done` counts the step. */
interface GroupCall {
  run: () => { sync: () => unknown; async: () => NativeJob }
  done: () => void
}

interface Entry<Options> {
  options: LiveGroup<Options>
  slots: Slot[]
}

/** A contiguous tensor as a view of another shape, for native calls. */
export const shaped = (x: Tensor, shape: Shape) => ({
  dtypeCode: x.dtypeCode,
  offset: x.offset,
  shape,
  strides: stridesOf(shape),
})

const flatOf = (array: Float32Array) => ({
  dtypeCode: 0,
  offset: 0,
  shape: [array.length],
  strides: [1],
})

/** The typed arrays of a list, and their descriptions written to the argument block. */
export function tensors(list: readonly Tensor[]): NativeBuffer[] {
  views(list)
  return list.map((x) => x.array)
}
export function arrays(list: readonly Float32Array[]): NativeBuffer[] {
  views(list.map(flatOf))
  return [...list]
}

/** Base class of optimizers. A subclass names its state and makes one native call a group. */
export abstract class Optimizer<Options extends CommonOptions> {
  /** The groups with their options; change `lr` and the others here between steps. */
  readonly paramGroups: LiveGroup<Options>[]
  /** Steps that were left out because a gradient held NaN or Inf (`nonFinite: 'skip'`). */
  skippedSteps = 0
  readonly #entries: Entry<Options>[]
  readonly #nonFinite: NonFinite
  #busy = false

  protected constructor(
    params: readonly Parameter[] | readonly ParamGroup<Options>[],
    options: Options,
    nonFinite: NonFinite = 'throw',
  ) {
    if (!Array.isArray(params) || params.length === 0) {
      wrong('params', 'a list of parameters or of groups, not empty', params)
    }
    const grouped = params.every((p) => typeof p === 'object' && p !== null && 'params' in p)
    const groups = (grouped ? params : [{ params }]) as ParamGroup<Options>[]
    this.#nonFinite = nonFinite
    this.#entries = groups.map((group, g) => {
      const live = { ...options, ...group } as LiveGroup<Options>
      this.checkOptions(live)
      if (!Array.isArray(group.params))
        wrong(`groups[${g}].params`, 'a list of parameters', group.params)
      const slots = group.params.map((p, i) => this.#slot(p, `params[${i}]`))
      return { options: live, slots }
    })
    checkDisjoint(this.#entries.flatMap(({ slots }) => slots.map(({ flat }) => flat)))
    this.paramGroups = this.#entries.map((entry) => entry.options)
  }

  #slot(parameter: Parameter, name: string): Slot {
    const x = toTensor(parameter, name)
    if (x.dtype !== 'float32')
      throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected float32`)
    if (!x.contiguous) {
      throw new ShapeError(
        `'${name}' of shape ${shownShape(x.shape)} is not contiguous and cannot be updated in place`,
      )
    }
    x.keep()
    const flat = x.detach().keep()
    this.checkParameter(x.shape, name)
    return {
      flat,
      shape: x.shape,
      owner: parameter instanceof Tensor ? parameter : null,
      buffers: {},
      step: 0,
    }
  }

  /** The optimizer's name in saved state. */
  protected abstract readonly kind: string
  /** Throws ArgumentError where an option is out of its range. */
  protected abstract checkOptions(options: LiveGroup<Options>): void
  /** Throws where the optimizer cannot handle a shape. */
  protected checkParameter(_shape: Shape, _name: string): void {}
  /** The buffers of a parameter and their lengths, made as zeros at its first step. */
  protected abstract buffersOf(slot: Slot, options: LiveGroup<Options>): Record<string, number>
  /**
   * Writes the arguments of a group's native call and returns its buffers' list with the binding's name.
   * `slots` share a step count.
   */
  protected abstract prepare(
    slots: readonly Slot[],
    grads: readonly Tensor[],
    options: LiveGroup<Options>,
    gradScale: number,
  ): { sync: () => unknown; async: () => NativeJob }

  /**
   * One step.
   *
   * @param grads one gradient a parameter, in order over all groups (null leaves a parameter as it
   *   is); without it, parameters' `.grad` count. All are checked before anything changes.
   */
  step(grads?: readonly (ArrayLike | null)[]): void {
    this.#guard(() => {
      for (const call of this.#calls(grads)) {
        call.run().sync()
        call.done()
      }
    })
  }

  /**
   * `step` on other threads, on copies: parameters and state change when it is done, group by group.
   * Aborting leaves the groups that were not done as they were.
   */
  async stepAsync({
    signal,
    grads,
  }: AsyncOptions & { grads?: readonly (ArrayLike | null)[] } = {}): Promise<void> {
    if (this.#busy) throw new ArgumentError('a step of this optimizer is under way')
    let calls: GroupCall[]
    try {
      calls = this.#calls(grads)
    } catch (error) {
      if (this.#skips(error)) return
      throw error
    }
    this.#busy = true
    try {
      for (const call of calls) {
        await runAsync(() => call.run().async(), { signal })
        call.done()
      }
    } catch (error) {
      if (!this.#skips(error)) throw error
    } finally {
      this.#busy = false
    }
  }

  #guard(run: () => void): void {
    if (this.#busy) throw new ArgumentError('a step of this optimizer is under way')
    try {
      run()
    } catch (error) {
      if (!this.#skips(error)) throw error
    }
  }

  #skips(error: unknown): boolean {
    if (!(error instanceof NumericalError) || this.#nonFinite !== 'skip') return false
    this.skippedSteps++
    return true
  }

  /** Checks everything; the calls that then cannot fail on account of their arguments. */
  #calls(grads: readonly (ArrayLike | null)[] | undefined): GroupCall[] {
    const total = this.#entries.reduce((n, entry) => n + entry.slots.length, 0)
    if (grads !== undefined && (!Array.isArray(grads) || grads.length !== total)) {
      wrong('grads', `${total} gradients, one a parameter`, grads)
    }
    let at = 0
    const plans = this.#entries.map(({ options, slots }) => {
      this.checkOptions(options)
      const active: { slot: Slot; grad: Tensor }[] = []
      for (const slot of slots) {
        const given = grads ? grads[at] : slot.owner?.grad
        if (given) active.push({ slot, grad: this.#gradient(given, slot, `grads[${at}]`) })
        at++
      }
      return { options, active }
    })
    return plans.flatMap(({ options, active }) => {
      const scale = clipScale(
        active.map(({ grad }) => grad),
        options.maxGradNorm,
      )
      const steps = new Set(active.map(({ slot }) => slot.step))
      return [...steps].map((step) => {
        const members = active.filter(({ slot }) => slot.step === step)
        const slots = members.map(({ slot }) => slot)
        for (const slot of slots) {
          for (const [name, length] of Object.entries(this.buffersOf(slot, options))) {
            slot.buffers[name] ??= new Float32Array(length)
          }
        }
        return {
          run: () =>
            this.prepare(
              slots,
              members.map(({ grad }) => grad),
              options,
              scale,
            ),
          done: () => {
            for (const slot of slots) slot.step++
          },
        }
      })
    })
  }

  #gradient(given: ArrayLike, slot: Slot, name: string): Tensor {
    const grad = toTensor(given, name)
    if (!sameShape(grad.shape, slot.shape)) {
      throw new ShapeError(
        `'${name}' has shape ${shownShape(grad.shape)}, the parameter ${shownShape(slot.shape)}`,
      )
    }
    const dense =
      grad.dtype === 'float32' && grad.contiguous ? grad : grad.detach().to('float32').clone()
    if (!allFinite(dense)) {
      throw new NumericalError(`'${name}' holds NaN or Inf; no parameter was changed`)
    }
    return dense
  }

  /** Sets every parameter's `grad` to null; its memory is reused by the next backward(). */
  zeroGrad(): void {
    for (const { slots } of this.#entries)
      for (const { owner } of slots) if (owner) owner.grad = null
  }

  /** Everything needed to go on later: a deep copy, free of parameters' values. */
  stateDict(): OptimizerState {
    let at = 0
    return {
      kind: this.kind,
      state: this.#entries.flatMap(({ slots }) =>
        slots.map(({ buffers, step }) => ({
          step,
          ...Object.fromEntries(
            Object.entries(buffers).map(([name, array]) => [name, array.slice()]),
          ),
        })),
      ),
      paramGroups: this.#entries.map(({ options, slots }) => {
        const { params: _, ...rest } = options
        return { ...structuredClone(rest), params: slots.map(() => at++) }
      }),
    }
  }

  /** Takes over a saved state: groups and shapes must be those of this optimizer. */
  loadStateDict(saved: OptimizerState): void {
    const total = this.#entries.reduce((n, entry) => n + entry.slots.length, 0)
    if (saved?.kind !== this.kind) wrong('state', `the state of ${this.kind}`, saved?.kind)
    if (saved.state?.length !== total || saved.paramGroups?.length !== this.#entries.length) {
      throw new ArgumentError(
        `expected the state of ${total} parameters in ${this.#entries.length} groups but got ${saved.state?.length} in ${saved.paramGroups?.length}`,
      )
    }
    // All is checked before anything is taken over.
    let at = 0
    const fresh = this.#entries.map(({ slots, options }, g) => {
      const { params: _, ...rest } = saved.paramGroups[g] as { params: number[] } & Record<
        string,
        unknown
      >
      const live = { ...options, ...structuredClone(rest) }
      this.checkOptions(live)
      return {
        rest,
        slots: slots.map((slot) => {
          const entry = saved.state[at++] as Record<string, Float32Array | number>
          const buffers: Record<string, Float32Array> = {}
          for (const [name, length] of Object.entries(this.buffersOf(slot, live))) {
            const array = entry[name]
            if (array === undefined) continue
            if (!(array instanceof Float32Array) || array.length !== length) {
              wrong(`state[${at - 1}].${name}`, `a Float32Array of ${length}`, array)
            }
            buffers[name] = (array as Float32Array).slice()
          }
          return { buffers, step: checkInteger(entry['step'], `state[${at - 1}].step`, 0) }
        }),
      }
    })
    this.#entries.forEach(({ slots, options }, g) => {
      Object.assign(options, structuredClone(fresh[g]?.rest))
      slots.forEach((slot, i) => {
        Object.assign(slot, fresh[g]?.slots[i])
      })
    })
  }
}

/** √Σ‖g‖² over a list of gradients. */
export function globalNorm(grads: readonly Tensor[]): number {
  let squares = 0
  for (const grad of grads) {
    const norm = grad.detach().norm()
    squares += norm.item() ** 2
    norm.dispose()
  }
  return Math.sqrt(squares)
}

/** What gradients are multiplied by so that their norm is at most `limit`, as in PyTorch. */
function clipScale(grads: readonly Tensor[], limit: number | undefined): number {
  if (limit === undefined) return 1
  const norm = globalNorm(grads)
  return norm > limit ? limit / (norm + 1e-6) : 1
}

/** Refuses parameters that share memory: each would be updated twice. */
function checkDisjoint(parameters: readonly Tensor[]): void {
  const byBuffer = new Map<ArrayBufferLike, [number, number][]>()
  for (const x of parameters) {
    if (x.size === 0) continue
    const start = x.array.byteOffset + x.offset * 4
    const ranges = byBuffer.get(x.array.buffer) ?? []
    ranges.push([start, start + x.size * 4])
    byBuffer.set(x.array.buffer, ranges)
  }
  for (const ranges of byBuffer.values()) {
    ranges.sort((a, b) => a[0] - b[0])
    for (let i = 1; i < ranges.length; i++) {
      if ((ranges[i]?.[0] as number) < (ranges[i - 1]?.[1] as number)) {
        throw new ArgumentError('a parameter appears twice, or two parameters share memory')
      }
    }
  }
}

/** Checks shared by the optimizers. */
export function checkLr(options: CommonOptions): void {
  checkNumber(options.lr, 'lr', 0, Number.MAX_VALUE)
  if (options.maxGradNorm !== undefined) checkNumber(options.maxGradNorm, 'maxGradNorm', 0)
}

/** Betas in [0, 1). */
export function checkBetas(betas: unknown): void {
  if (!Array.isArray(betas) || betas.length !== 2)
    wrong('betas', 'a pair of numbers in [0, 1)', betas)
  for (const beta of betas as number[]) checkNumber(beta, 'betas', 0, 1 - Number.EPSILON / 2)
}

/** The number of elements of a slot. */
export const lengthOf = (slot: Slot): number => sizeOf(slot.shape)
