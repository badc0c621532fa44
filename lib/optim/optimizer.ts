/** Optimizers: parameter groups with an update rule each, checks, and steps that happen whole or not at all. */

import { type AsyncOptions, runAsync } from '../engine/async.js'
import { begin, flatView, number } from '../engine/call.js'
import { checkChoice, checkInteger, checkOptions, wrong } from '../engine/check.js'
import { ArgumentError, DTypeError, NumericalError, ShapeError } from '../engine/errors.js'
import {
  type GraphStatistics,
  type NativeBuffer,
  type NativeRecorder,
  native,
} from '../engine/native.js'
import { openDevice } from '../engine/plugins.js'
import { carryCompact, checkMasks, Mask } from '../masks/mask.js'
import { dtypeCodes } from '../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../tensor/interop.js'
import { type Shape, sameShape, shownShape } from '../tensor/shape.js'
import { newArray } from '../tensor/storage.js'
import { Tensor } from '../tensor/tensor.js'
import {
  type Algorithm,
  algorithmOf,
  type BufferSpec,
  type CommonOptions,
  checkPositive,
  type LiveGroup,
  type OtherGroup,
  type Parameter,
  type ParamGroup,
  type StateArray,
  type StateDtype,
} from './algorithm.js'
import { State } from './state.js'

/** What to do when a gradient holds NaN or Inf (or is so large that its square is Inf). */
export type NonFinite = 'throw' | 'skip'

/** Options of a whole optimizer. */
export interface WholeOptions {
  /**
   * 'skip' (default): the step is left out, in all groups, and counted in `skippedSteps`; 'throw':
   * NumericalError. Parameters and state stay as they were either way.
   */
  nonFinite?: NonFinite
  /** The norm that all gradients together are scaled down to; none by default. */
  maxGlobalGradNorm?: number | undefined
  /**
   * A mask a parameter, in order over all groups (null: none), for SGD, AdamW and Lion. What is off stays
   * as it is, and state is kept for what is on alone: memory and time follow the density. `setMask`
   * changes one later.
   */
  masks?: readonly (Mask | null)[]
  /**
   * 'auto' (default): where parameters are on a GPU, the kernels of a step (the look at the gradients among
   * them) are recorded at the second step as a CUDA graph and replayed in one launch from then on, to the same
   * bits. Options such as `lr`, and gradients at other addresses, go into memory that the graph reads; a
   * change of the kernels themselves (parameters that have no gradient, masks, Newton–Schulz's steps) starts
   * that step plainly and records the next. What cannot be recorded, or changes each time, stays plain
   * (`graphStatistics` says why). The graph's scratch memory stays reserved as long as the optimizer lives.
   * false: kernel by kernel, with scratch memory that all operations share.
   */
  graph?: 'auto' | false
}

/** Options of an optimizer: defaults of its groups, and of the whole. */
export type OptimizerOptions<Options> = Partial<Options> & WholeOptions

/** What an optimizer is made of: parameters, groups of them, or what `muonGroups` returns. */
export type Params<Options> =
  | readonly Parameter[]
  | readonly (ParamGroup<Options> | OtherGroup)[]
  | { hidden: ParamGroup<Options>; rest: { params: Parameter[] } }

/** A saved optimizer: state by parameter number, and the groups' options. */
export interface OptimizerState {
  /** The optimizer's own update rule: loading another's state is refused. */
  kind: string
  /** One entry a parameter: `step`, and its buffers by name (bfloat16 as its 16 bits). */
  state: Record<string, StateArray | number>[]
  paramGroups: ({ params: number[] } & Record<string, unknown>)[]
}

/** One parameter with its state. */
interface Slot {
  /** A view that keeps the parameter's memory. */
  view: Tensor
  shape: Shape
  size: number
  /** Where `.grad` is looked for. */
  owner: Tensor | null
  buffers: Record<string, State>
  /** Steps taken. */
  step: number
  /** Where it is updated; everywhere if null. */
  mask: Mask | null
}

interface Entry {
  algorithm: Algorithm<CommonOptions>
  options: LiveGroup<CommonOptions>
  slots: Slot[]
}

/** A gradient that has been checked. */
interface Active {
  slot: Slot
  array: NativeBuffer
  offset: number
}

const always = new Set(['params', 'algorithm', 'name', 'maxGradNorm'])

function checkGroup(algorithm: Algorithm<CommonOptions>, options: LiveGroup<CommonOptions>): void {
  for (const key of Object.keys(options)) {
    if (!always.has(key) && !(key in algorithm.defaults)) {
      wrong(
        'options',
        `options of ${algorithm.name} (${Object.keys(algorithm.defaults).join(', ')})`,
        key,
      )
    }
  }
  checkPositive(options.lr, 'lr')
  if (options.maxGradNorm !== undefined) checkPositive(options.maxGradNorm, 'maxGradNorm')
  checkChoice<StateDtype>(options.stateDtype ?? 'float32', 'stateDtype', ['float32', 'bfloat16'])
  algorithm.check(options)
}

const dtypeOf = (spec: BufferSpec, options: CommonOptions): StateDtype =>
  spec.dtype ?? options.stateDtype ?? 'float32'

/** Optimizers' base class. Its methods are those of all optimizers. */
export class Optimizer<Options extends CommonOptions> {
  /**
   * The groups with their options; change `lr` and the others here between steps. A group of another
   * update rule (its `algorithm`) has that rule's options.
   */
  readonly paramGroups: LiveGroup<Options>[] = []
  /** Steps that were left out because a gradient was not finite. */
  skippedSteps = 0
  /** The norm of all gradients of the last step together, before any clipping; NaN before the first. */
  gradNorm = Number.NaN
  /** The norm that all gradients together are scaled down to. */
  maxGlobalGradNorm: number | undefined
  readonly #own: Algorithm<Options>
  readonly #defaults: Partial<Options>
  readonly #entries: Entry[] = []
  readonly #nonFinite: NonFinite
  readonly #graph: 'auto' | false
  /** Made at the first step on a device that can record; null where it cannot. */
  #recorder: NativeRecorder | null | undefined
  #busy = false

  /**
   * @param algorithm the update rule of groups that name no other
   * @param params parameters, or groups
   * @param options defaults of the groups of this rule, and options of the whole
   */
  protected constructor(
    algorithm: Algorithm<Options>,
    params: Params<Options>,
    options: OptimizerOptions<Options>,
  ) {
    if (typeof options !== 'object' || options === null) wrong('options', 'an object', options)
    const { nonFinite = 'skip', maxGlobalGradNorm, masks, graph = 'auto', ...defaults } = options
    this.#own = algorithm
    this.#defaults = defaults as Partial<Options>
    this.#nonFinite = checkChoice(nonFinite, 'nonFinite', ['throw', 'skip'])
    this.#graph = graph === false ? graph : checkChoice<'auto'>(graph, 'graph', ['auto'])
    if (maxGlobalGradNorm !== undefined) checkPositive(maxGlobalGradNorm, 'maxGlobalGradNorm')
    this.maxGlobalGradNorm = maxGlobalGradNorm
    const groups = groupsOf(params)
    const entries = groups.map((group, g) => this.#entry(group, `groups[${g}]`, 'params'))
    this.#adopt(entries)
    if (masks !== undefined) {
      const slots = this.#slots()
      checkMasks(
        masks,
        slots.map(({ shape }) => shape),
      ).forEach((mask, i) => {
        this.setMask(i, mask)
      })
    }
  }

  /** How steps on a GPU were run; null on other devices, with `graph: false`, and before the first step. */
  get graphStatistics(): GraphStatistics | null {
    return this.#recorder ? native.recorderStatistics(this.#recorder) : null
  }

  #recorderFor(plan: Active[][]): NativeRecorder | null {
    const device = plan.flat()[0]?.slot.view.device ?? 'cpu'
    if (this.#graph === false || device === 'cpu') return null
    if (this.#recorder === undefined) {
      this.#recorder = native.makeRecorder(openDevice(device).number)
    }
    return this.#recorder
  }

  #slots(): Slot[] {
    return this.#entries.flatMap(({ slots }) => slots)
  }

  /**
   * Lets a parameter be updated where `mask` is on alone (null: everywhere). State of entries that were
   * and stay on is carried over; of those that are new it is zero; of the others it is dropped.
   *
   * @param parameter its number, in order over all groups, or itself
   */
  setMask(parameter: number | Parameter, mask: Mask | null): void {
    this.#checkIdle()
    const all = this.#entries.flatMap(({ algorithm, options, slots }) =>
      slots.map((slot, i) => ({ algorithm, slot, given: options.params[i] })),
    )
    const found =
      typeof parameter === 'number'
        ? all[checkInteger(parameter, 'parameter', 0, all.length - 1)]
        : all.find(({ given }) => given === parameter)
    if (!found) wrong('parameter', 'a parameter of this optimizer', parameter)
    const { algorithm, slot } = found as NonNullable<typeof found>
    const [checked] = checkMasks([mask], [slot.shape])
    if (checked && !algorithm.maskable) {
      throw new ArgumentError(`${algorithm.name} takes no masks; SGD, AdamW and Lion do`)
    }
    for (const [name, state] of Object.entries(slot.buffers)) {
      const array = carried(state.toArray(), slot.shape, slot.mask, checked ?? null)
      slot.buffers[name] = new State(array, slot.view.device)
    }
    slot.mask = checked ?? null
  }

  /** The masks of all parameters, in order over all groups. */
  get masks(): (Mask | null)[] {
    return this.#slots().map(({ mask }) => mask)
  }

  #entry(group: ParamGroup<Options> | OtherGroup, path: string, label: string): Entry {
    if (typeof group !== 'object' || group === null || !Array.isArray(group.params)) {
      wrong(`${path}.params`, 'a list of parameters', (group as { params?: unknown })?.params)
    }
    const name = (group as { algorithm?: string }).algorithm ?? this.#own.name
    const algorithm = algorithmOf(name)
    const own = name === this.#own.name
    const options = {
      ...algorithm.defaults,
      ...(own ? this.#defaults : {}),
      ...group,
      algorithm: name,
    } as LiveGroup<CommonOptions>
    checkGroup(algorithm, options)
    const slots = group.params.map((p, i) => {
      const slot = slotOf(p, `${label}[${i}]`)
      algorithm.checkShape?.(slot.shape, `${label}[${i}]`, options)
      return slot
    })
    return { algorithm, options, slots }
  }

  #adopt(entries: Entry[]): void {
    const all = [...this.#entries, ...entries]
    checkDisjoint(all.flatMap(({ slots }) => slots.map(({ view }) => view)))
    for (const entry of entries) {
      this.#entries.push(entry)
      this.paramGroups.push(entry.options as unknown as LiveGroup<Options>)
    }
  }

  /** Adds a group of parameters; gradients then come in the order of all groups. */
  addParamGroup(group: ParamGroup<Options> | OtherGroup): void {
    this.#checkIdle()
    this.#adopt([this.#entry(group, 'group', 'params')])
  }

  /**
   * One step of all groups, in one native call.
   *
   * @param grads one gradient a parameter, in order over all groups (null leaves a parameter as it
   *   is); without it, parameters' `.grad` count. All are checked before anything changes.
   * @returns false where a gradient was not finite and the step was left out (`nonFinite: 'skip'`)
   */
  step(grads?: readonly (ArrayLike | null)[]): boolean {
    this.#checkIdle()
    const plan = this.#plan(grads)
    try {
      const recorder = this.#recorderFor(plan)
      const [gradients, buffers] = this.#write(plan)
      this.#done(plan, native.optimizerStep(gradients, buffers, recorder) as number)
      return true
    } catch (error) {
      return this.#skip(error)
    }
  }

  /**
   * `step` on other threads, on copies: parameters and state of all groups change together when it is
   * done. Aborting, or a gradient that is not finite, leaves all of them as they were. Another step
   * before its end is refused.
   */
  async stepAsync(
    options: AsyncOptions & { grads?: readonly (ArrayLike | null)[] } = {},
  ): Promise<boolean> {
    const { signal, grads } = checkOptions(options)
    this.#checkIdle()
    const plan = this.#plan(grads)
    this.#busy = true
    try {
      const recorder = this.#recorderFor(plan)
      const start = () => native.optimizerStepAsync(...this.#write(plan), recorder)
      this.#done(plan, (await runAsync(start, { signal })) as number)
      return true
    } catch (error) {
      return this.#skip(error)
    } finally {
      this.#busy = false
    }
  }

  #checkIdle(): void {
    if (this.#busy) throw new ArgumentError('a step of this optimizer is under way')
  }

  #skip(error: unknown): false {
    if (!(error instanceof NumericalError) || this.#nonFinite === 'throw') throw error
    this.skippedSteps++
    return false
  }

  #done(plan: Active[][], norm: number): void {
    this.gradNorm = norm
    for (const group of plan) for (const { slot } of group) slot.step++
  }

  /** Checks everything. */
  #plan(grads: readonly (ArrayLike | null)[] | undefined): Active[][] {
    const total = this.#entries.reduce((n, entry) => n + entry.slots.length, 0)
    if (grads !== undefined && (!Array.isArray(grads) || grads.length !== total)) {
      wrong('grads', `${total} gradients, one a parameter`, grads)
    }
    if (this.maxGlobalGradNorm !== undefined) {
      checkPositive(this.maxGlobalGradNorm, 'maxGlobalGradNorm')
    }
    let at = 0
    return this.#entries.map(({ algorithm, options, slots }) => {
      checkGroup(algorithm, options)
      const active: Active[] = []
      for (const slot of slots) {
        const given = grads ? grads[at] : slot.owner?.grad
        if (given) {
          active.push(gradientOf(given, slot, at))
          algorithm.checkShape?.(slot.shape, `params[${at}]`, options)
        }
        at++
      }
      return active
    })
  }

  /** Writes the argument block; returns the buffers. State is made at a parameter's first step. */
  #write(plan: Active[][]): [grads: NativeBuffer[], buffers: NativeBuffer[]] {
    const gradients: NativeBuffer[] = []
    const buffers: NativeBuffer[] = []
    const groups = this.#entries
      .map((entry, i) => ({ ...entry, active: plan[i] as Active[] }))
      .filter(({ active }) => active.length > 0)
    const names = groups.map(({ algorithm, options, active }) => {
      const list: string[] = []
      for (const { slot } of active) {
        const specs = Object.entries(algorithm.buffers(stateShape(slot), options))
        for (const [name, spec] of specs)
          slot.buffers[name] ??= new State(make(spec, options), slot.view.device)
        if (list.length === 0) list.push(...specs.map(([name]) => name))
      }
      return list
    })
    // From here to the call nothing else may use the argument block.
    begin()
    number(plan.reduce((n, group) => n + group.length, 0))
    for (const group of plan) {
      for (const { slot, array, offset } of group) {
        gradients.push(array)
        flatView(dtypeCodes.float32, offset, slot.size)
      }
    }
    const masked = groups.map(({ active }) => active.some(({ slot }) => slot.mask))
    number(
      groups.reduce(
        (n, { active }, i) =>
          n + active.length * ((masked[i] ? 2 : 1) + (names[i] as string[]).length),
        0,
      ),
    )
    groups.forEach(({ active }, i) => {
      for (const { slot } of active) {
        buffers.push(slot.view.buffer)
        flatView(dtypeCodes.float32, slot.view.offset, slot.size)
      }
      for (const { slot } of masked[i] ? active : []) {
        // No bytes, of any memory there: this parameter has no mask.
        const { device, buffer } = slot.view
        const none = device === 'cpu' ? new Uint8Array(0) : buffer
        buffers.push(slot.mask?.bitsOn(device) ?? none)
        // `bits`: a step may run on another thread, and disposing the mask must not give them to anyone.
        flatView(dtypeCodes.uint8, 0, slot.mask?.bits.length ?? 0)
      }
      for (const name of names[i] as string[]) {
        for (const { slot } of active) {
          const state = slot.buffers[name] as State
          buffers.push(state.buffer)
          flatView(state.dtypeCode, 0, state.length)
        }
      }
    })
    number(this.maxGlobalGradNorm ?? Infinity)
    number(groups.length)
    for (const [i, { algorithm, options, active }] of groups.entries()) {
      number(algorithm.code)
      number(options.maxGradNorm ?? Infinity)
      number(active.length)
      number(dtypeCodes[options.stateDtype ?? 'float32'])
      number(masked[i] as boolean)
      for (const { slot } of masked[i] ? active : []) number(slot.mask?.count() ?? slot.size)
      const members = active.map(({ slot }) => ({ shape: slot.shape, step: slot.step + 1 }))
      algorithm.write(options, members)
    }
    return [gradients, buffers]
  }

  /** Sets every parameter's `grad` to null; its memory is reused by the next backward(). */
  zeroGrad(): void {
    for (const { slots } of this.#entries)
      for (const { owner } of slots) if (owner) owner.grad = null
  }

  /** The state buffers of each parameter, in order over all groups, with their precision. */
  bufferNames(): { name: string; dtype: StateDtype }[][] {
    return this.#entries.flatMap(({ algorithm, options, slots }) =>
      slots.map(({ shape }) =>
        Object.entries(algorithm.buffers(shape, options)).map(([name, spec]) => ({
          name,
          dtype: dtypeOf(spec, options),
        })),
      ),
    )
  }

  /** Everything needed to go on later: a deep copy, free of parameters' values. */
  stateDict(): OptimizerState {
    let at = 0
    return {
      kind: this.#own.name,
      state: this.#entries.flatMap(({ slots }) =>
        slots.map(({ buffers, step, mask }) => ({
          step,
          ...(mask && { mask: new Uint16Array(mask.bits.slice().buffer) }),
          ...Object.fromEntries(
            Object.entries(buffers).map(([name, state]) => [name, state.toArray()]),
          ),
        })),
      ),
      paramGroups: this.#entries.map(({ options, slots }) => {
        const { params: _, ...rest } = options
        return { ...structuredClone(rest), params: slots.map(() => at++) }
      }),
    }
  }

  /** Takes over a saved state: groups, update rules and shapes must be those of this optimizer. */
  loadStateDict(saved: OptimizerState): void {
    this.#checkIdle()
    const total = this.#entries.reduce((n, entry) => n + entry.slots.length, 0)
    if (saved?.kind !== this.#own.name)
      wrong('state', `the state of ${this.#own.name}`, saved?.kind)
    if (saved.state?.length !== total || saved.paramGroups?.length !== this.#entries.length) {
      throw new ArgumentError(
        `expected the state of ${total} parameters in ${this.#entries.length} groups but got ${saved.state?.length} in ${saved.paramGroups?.length}`,
      )
    }
    // All is checked before anything is taken over.
    let at = 0
    const fresh = this.#entries.map(({ algorithm, slots, options }, g) => {
      const { params, ...rest } = structuredClone(saved.paramGroups[g]) as { params: unknown[] }
      const live = { ...options, ...rest }
      if (live.algorithm !== algorithm.name) {
        wrong(`paramGroups[${g}].algorithm`, `'${algorithm.name}'`, live.algorithm)
      }
      if (params?.length !== slots.length) {
        wrong(`paramGroups[${g}].params`, `${slots.length} parameters`, params)
      }
      checkGroup(algorithm, live)
      const states = slots.map((slot) => {
        const entry = saved.state[at] as Record<string, StateArray | number>
        const buffers: Record<string, State> = {}
        const mask = maskOf(entry['mask'], slot.shape, `state[${at}].mask`)
        if (mask) checkMaskable(algorithm)
        const shape = stateShape({ ...slot, mask })
        for (const [name, spec] of Object.entries(algorithm.buffers(shape, live))) {
          const array = entry[name]
          if (array === undefined) continue
          const Type = dtypeOf(spec, live) === 'float32' ? Float32Array : Uint16Array
          if (!(array instanceof Type) || array.length !== spec.length) {
            wrong(`state[${at}].${name}`, `a ${Type.name} of ${spec.length}`, array)
          }
          buffers[name] = new State((array as StateArray).slice(), slot.view.device)
        }
        return { buffers, mask, step: checkInteger(entry['step'], `state[${at++}].step`, 0) }
      })
      return { live: rest, states }
    })
    this.#entries.forEach(({ slots, options }, g) => {
      Object.assign(options, fresh[g]?.live)
      slots.forEach((slot, i) => {
        Object.assign(slot, fresh[g]?.states[i])
      })
    })
  }
}

function groupsOf<Options>(params: Params<Options>): (ParamGroup<Options> | OtherGroup)[] {
  if (typeof params === 'object' && params !== null && 'hidden' in params && 'rest' in params) {
    return [params.hidden, { algorithm: 'adamw', ...params.rest } as OtherGroup]
  }
  if (!Array.isArray(params) || params.length === 0) {
    wrong('params', 'a list of parameters or of groups, not empty', params)
  }
  const grouped = params.every((p) => typeof p === 'object' && p !== null && 'params' in p)
  return (grouped ? params : [{ params }]) as ParamGroup<Options>[]
}

function slotOf(parameter: Parameter, name: string): Slot {
  const x = toTensor(parameter, name)
  if (x.dtype !== 'float32') {
    throw new DTypeError(`'${name}' has dtype ${x.dtype}, expected float32`)
  }
  if (!x.contiguous) {
    throw new ShapeError(
      `'${name}' of shape ${shownShape(x.shape)} is not contiguous and cannot be updated in place`,
    )
  }
  const owner = parameter instanceof Tensor ? parameter : null
  owner?.keep()
  return {
    view: x.detach().keep(),
    shape: x.shape,
    size: x.size,
    owner,
    buffers: {},
    step: 0,
    mask: null,
  }
}

/** The shape by which a rule measures its buffers: compact where there is a mask. */
const stateShape = ({ mask, shape }: Slot): Shape => (mask ? [mask.count()] : shape)

/** Throws where a parameter cannot have a mask. */
function checkMaskable({ name, maskable }: Algorithm<CommonOptions>): void {
  if (!maskable) throw new ArgumentError(`${name} takes no masks; SGD, AdamW and Lion do`)
}

/** A saved mask: its bits as 16-bit words. */
function maskOf(saved: unknown, shape: Shape, name: string): Mask | null {
  if (saved === undefined) return null
  if (!(saved instanceof Uint16Array)) wrong(name, 'a Uint16Array', saved)
  return new Mask(shape, new Uint8Array((saved as Uint16Array).slice().buffer))
}

/** State of one mask's entries as that of another's. */
function carried(array: StateArray, shape: Shape, from: Mask | null, to: Mask | null): StateArray {
  if (from === to) return array
  const [before, after] = [from ?? Mask.full(shape), to ?? Mask.full(shape)]
  if (array instanceof Float32Array) return carryCompact(before, array, after)
  // 16-bit patterns are whole numbers, which float32 holds exactly.
  return Uint16Array.from(carryCompact(before, Float32Array.from(array), after))
}

/** The memory of a gradient; a dense float32 copy where it is not that already. */
function gradientOf(given: ArrayLike, slot: Slot, index: number): Active {
  const bare = given as { data: unknown; shape: unknown; stride?: unknown; dtype?: unknown }
  if (!(given instanceof Tensor) && bare.data instanceof Float32Array && !('stride' in bare)) {
    const fits = Array.isArray(bare.shape) && sameShape(bare.shape, slot.shape)
    if (fits && bare.data.length === slot.size) return { slot, array: bare.data, offset: 0 }
  }
  const grad = toTensor(given, `grads[${index}]`)
  if (!sameShape(grad.shape, slot.shape)) {
    throw new ShapeError(
      `'grads[${index}]' has shape ${shownShape(grad.shape)}, the parameter ${shownShape(slot.shape)}`,
    )
  }
  const dense =
    grad.dtype === 'float32' && grad.contiguous ? grad : grad.detach().to('float32').clone()
  return { slot, array: dense.buffer, offset: dense.offset }
}

function make(spec: BufferSpec, options: CommonOptions): StateArray {
  const { length } = spec
  if (dtypeOf(spec, options) === 'bfloat16') return newArray('bfloat16', length) as Uint16Array
  const array = newArray('float32', length) as Float32Array
  spec.fill?.(array)
  return array
}

/** Refuses parameters that share memory: each would be updated twice. */
function checkDisjoint(parameters: readonly Tensor[]): void {
  const byBuffer = new Map<object, [number, number][]>()
  for (const x of parameters) {
    if (x.size === 0) continue
    const host = x.device === 'cpu'
    const memory = host ? x.array.buffer : x.buffer
    const start = (host ? x.array.byteOffset : 0) + x.offset * 4
    const ranges = byBuffer.get(memory) ?? []
    ranges.push([start, start + x.size * 4])
    byBuffer.set(memory, ranges)
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
