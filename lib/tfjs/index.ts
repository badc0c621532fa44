/**
 * The Muon family as an optimizer of TensorFlow.js, for `model.compile`, `minimize` and
 * `applyGradients`:
 *
 * ```ts
 * import { norMuon } from 'palimpsest/tfjs'
 * model.compile({ optimizer: norMuon({ lr: 0.02 }), loss: 'sparseCategoricalCrossentropy' })
 * ```
 *
 * Hidden kernels ([…in, out]) are orthogonalized; biases, embeddings and the last kernel go to AdamW by
 * the rule of muonGroups. State is kept outside TensorFlow.js and saved with the model
 * (`model.save(url, { includeOptimizer: true })`).
 */

import * as tf from '@tensorflow/tfjs'
import { checkChoice, checkOptions, checkStrings } from '../engine/check.js'
import { ArgumentError, DTypeError } from '../engine/errors.js'
import {
  type AdamWOptions,
  Dion,
  type DionOptions,
  Muon,
  type MuonOptions,
  muonGroups,
  NorMuon,
  type NorMuonOptions,
  type Optimizer,
  type WholeOptions,
} from '../optim/index.js'
import { Tensor } from '../tensor/tensor.js'

const families = { muon: Muon, normuon: NorMuon, dion: Dion }
type FamilyName = keyof typeof families

/** Options of the optimizers for TensorFlow.js. */
export type TfjsOptions<Options> = Partial<Options> &
  WholeOptions & {
    /** Options of AdamW for the variables that are not orthogonalized; its own defaults, no decay. */
    rest?: Partial<AdamWOptions>
    /** Names of variables that are orthogonalized whatever the rule says. */
    toHidden?: string[]
    /** Names of variables that are not. */
    toRest?: string[]
  }

type AnyOptions = TfjsOptions<MuonOptions> | TfjsOptions<NorMuonOptions> | TfjsOptions<DionOptions>

/** A tensor with its name, as in tfjs-core. */
interface NamedTensor {
  name: string
  tensor: tf.Tensor
}

/** A variable with the memory that the engine works on. */
interface Bound {
  variable: tf.Variable
  parameter: { data: Float32Array; shape: number[] }
}

/** bfloat16's 16 bits as float32, which holds them exactly, and back. */
const fromBfloat16 = (data: Uint16Array) =>
  Tensor.from({ data, shape: [data.length], dtype: 'bfloat16' }).to('float32').data as Float32Array
const toBfloat16 = (data: Float32Array) =>
  Tensor.from({ data, shape: [data.length] }).to('bfloat16').data as Uint16Array

/** An optimizer of the Muon family; made by `muon`, `norMuon` and `dion`. */
export class MuonFamily extends tf.Optimizer {
  /** The name under which saved models find this class. */
  static get className(): string {
    return 'PalimpsestMuonFamily'
  }

  /** Steps left out because a gradient was not finite. */
  get skippedSteps(): number {
    return this.#optimizer?.skippedSteps ?? 0
  }

  readonly #family: FamilyName
  readonly #options: AnyOptions
  #bound: Bound[] = []
  #optimizer: Optimizer<{ lr: number }> | null = null
  /** Places of the optimizer's parameters in #bound. */
  #order: number[] = []
  /** Saved state that waits for the variables. */
  #pending: Float32Array[] | null = null

  constructor(family: FamilyName, options: AnyOptions = {}) {
    super()
    this.#family = checkChoice(family, 'family', Object.keys(families) as FamilyName[])
    this.#options = checkOptions(options)
    checkOptions(options.rest, 'rest')
    for (const name of ['toHidden', 'toRest'] as const) {
      if (options[name] !== undefined) checkStrings(options[name], name)
    }
    // Wrong options are found now, not at the first step.
    this.#make([['kernel', { data: new Float32Array(4), shape: [2, 2] }]], ['kernel'])
  }

  /** The learning rate of orthogonalized variables. */
  get learningRate(): number {
    const group = this.#optimizer?.paramGroups[0]
    return group?.lr ?? this.#options.lr ?? (this.#family === 'dion' ? 0.01 : 1e-3)
  }

  /** Sets the learning rate of orthogonalized variables; that of the others keeps its proportion. */
  set learningRate(lr: number) {
    const factor = lr / this.learningRate
    if (this.#optimizer) for (const group of this.#optimizer.paramGroups) group.lr *= factor
    const { rest } = this.#options
    this.#options.lr = lr
    this.#options.rest = { ...rest, lr: (rest?.lr ?? 1e-3) * factor }
  }

  #make(named: [string, Bound['parameter']][], toHidden: readonly string[] = []) {
    const { rest, toHidden: hidden = [], toRest = [], ...own } = this.#options
    const groups = muonGroups(named, {
      rest: { weightDecay: 0, ...rest },
      toHidden: [...hidden, ...toHidden],
      toRest,
    })
    const Class = families[this.#family]
    const optimizer = new Class(groups as never, { outputAxis: 'last', ...own } as never)
    return optimizer as unknown as Optimizer<{ lr: number }>
  }

  /** Begins with these variables, in the order in which they were made. */
  #bind(variables: tf.Variable[]): void {
    this.#bound = [...variables]
      .sort((a, b) => a.id - b.id)
      .map((variable) => {
        if (variable.dtype !== 'float32') {
          throw new DTypeError(`'${variable.name}' has dtype ${variable.dtype}, expected float32`)
        }
        const parameter = { data: new Float32Array(variable.size), shape: [...variable.shape] }
        return { variable, parameter }
      })
    this.#optimizer = this.#make(this.#bound.map((b) => [b.variable.name, b.parameter]))
    const members = this.#optimizer.paramGroups.flatMap((group) => group.params)
    this.#order = members.map((p) => this.#bound.findIndex(({ parameter }) => parameter === p))
    const pending = this.#pending
    this.#pending = null
    if (pending) this.#restore(pending)
  }

  /**
   * One step.
   *
   * @param gradients by variable name, as computeGradients returns them. They are not disposed.
   */
  applyGradients(gradients: tf.NamedTensorMap | NamedTensor[]): void {
    const list = Array.isArray(gradients)
      ? gradients.map(({ name, tensor }) => [name, tensor] as const)
      : Object.entries(gradients)
    const registered = tf.engine().registeredVariables
    if (!this.#optimizer) {
      const variables = list.map(([name]) => registered[name])
      const missing = variables.indexOf(undefined as unknown as tf.Variable)
      if (missing >= 0) throw new ArgumentError(`there is no variable '${list[missing]?.[0]}'`)
      this.#bind(variables as tf.Variable[])
    }
    const byName = new Map(list)
    for (const name of byName.keys()) {
      if (!this.#bound.some(({ variable }) => variable.name === name)) {
        throw new ArgumentError(`'${name}' was not among the variables of the first step`)
      }
    }
    const grads = this.#order.map((i) => {
      const { variable, parameter } = this.#bound[i] as Bound
      const tensor = byName.get(variable.name)
      if (!tensor) return null
      parameter.data.set(variable.dataSync() as Float32Array)
      return { data: tensor.dataSync() as Float32Array, shape: parameter.shape }
    })
    if (this.#optimizer?.step(grads)) {
      this.#order.forEach((i, k) => {
        if (!grads[k]) return
        const { variable, parameter } = this.#bound[i] as Bound
        // The backend may keep the array that it is given.
        const value = tf.tensor(parameter.data.slice(), parameter.shape as number[], 'float32')
        variable.assign(value)
        value.dispose()
      })
    }
    this.incrementIterations()
  }

  /** Iterations and state, for saving: the caller disposes the tensors. */
  override async getWeights(): Promise<NamedTensor[]> {
    const weights = [await this.saveIterations()]
    this.#optimizer?.stateDict().state.forEach((entry, k) => {
      const { variable } = this.#bound[this.#order[k] as number] as Bound
      weights.push({
        name: `${variable.name}/step`,
        tensor: tf.scalar(entry['step'] as number, 'int32'),
      })
      for (const [name, value] of Object.entries(entry)) {
        if (typeof value === 'number') continue
        const data = value instanceof Float32Array ? value : fromBfloat16(value)
        weights.push({ name: `${variable.name}/${name}`, tensor: tf.tensor1d(data, 'float32') })
      }
    })
    return weights
  }

  /** Takes over what getWeights gave; the variables may come later, in the same order. */
  override async setWeights(weights: NamedTensor[]): Promise<void> {
    const rest = await this.extractIterations(weights)
    const values = await Promise.all(rest.map(({ tensor }) => tensor.data()))
    const arrays = values.map((value) => Float32Array.from(value))
    if (this.#optimizer) this.#restore(arrays)
    else if (arrays.length > 0) this.#pending = arrays
  }

  #restore(arrays: readonly Float32Array[]): void {
    const optimizer = this.#optimizer as Optimizer<{ lr: number }>
    const saved = optimizer.stateDict()
    const names = optimizer.bufferNames()
    let at = 0
    const state = names.map((buffers) => {
      const step = arrays[at++]?.[0] ?? 0
      const entry: Record<string, Float32Array | Uint16Array | number> = { step }
      for (const { name, dtype } of step > 0 ? buffers : []) {
        const array = arrays[at++]
        if (!array) throw new ArgumentError('the saved optimizer has too few weights')
        entry[name] = dtype === 'float32' ? array : toBfloat16(array)
      }
      return entry
    })
    if (at !== arrays.length) throw new ArgumentError('the saved optimizer does not fit the model')
    optimizer.loadStateDict({ ...saved, state })
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {
      family: this.#family,
      // One string: names inside would be rewritten on the way through the file.
      options: JSON.stringify(this.#options),
    }
  }

  static override fromConfig<T extends tf.serialization.Serializable>(
    Class: tf.serialization.SerializableConstructor<T>,
    config: tf.serialization.ConfigDict,
  ): T {
    const options = JSON.parse(config['options'] as string)
    return new (Class as unknown as new (family: FamilyName, options: AnyOptions) => T)(
      config['family'] as FamilyName,
      options,
    )
  }
}
tf.serialization.registerClass(MuonFamily)

/** Muon for hidden kernels, AdamW for the rest. Options as in palimpsest/optim. */
export const muon = (options: TfjsOptions<MuonOptions> = {}) => new MuonFamily('muon', options)

/** NorMuon for hidden kernels, AdamW for the rest. Options as in palimpsest/optim. */
export const norMuon = (options: TfjsOptions<NorMuonOptions> = {}) =>
  new MuonFamily('normuon', options)

/** Dion for hidden kernels, AdamW for the rest. Options as in palimpsest/optim. */
export const dion = (options: TfjsOptions<DionOptions> = {}) => new MuonFamily('dion', options)
