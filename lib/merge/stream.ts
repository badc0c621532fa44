/**
 * Merging of checkpoints, tensor by tensor and large tensors in pieces, so that memory stays bounded
 * however many and large the checkpoints are. A method says what becomes of one piece; what it needs
 * to know of whole files it learns in a pass of its own.
 */

import { existsSync, unlinkSync } from 'node:fs'
import { checkFunction, checkInstance, checkPath, requireOptions, wrong } from '../engine/check.js'
import { AbortError, ArgumentError, FormatError, ShapeError } from '../engine/errors.js'
import {
  type Announced,
  openSafetensors,
  type SafetensorsFile,
  SafetensorsWriter,
} from '../io/index.js'
import { binaryInto } from '../tensor/elementwise.js'
import { noGrad, scope, type Tensor } from '../tensor/index.js'

/** Elements of a piece of a large tensor: what is computed with it stays in the second-level cache. */
const pieceElements = 1 << 18

/** Rows [from, to) of one tensor in all checkpoints, as float32. */
export interface Piece {
  readonly name: string
  /** Of the whole tensor. */
  readonly shape: readonly number[]
  /** How many checkpoints are merged. */
  readonly count: number
  /** Checkpoint i's values. */
  model(i: number): Tensor
  /** The base's values. */
  base(): Tensor
  /** model(i) − base(): the task vector. */
  task(i: number): Tensor
}

/** What a method may look at before the first piece. */
export interface Sources {
  readonly count: number
  /** All pieces of floating tensors, in order. */
  pieces(): Iterable<Piece>
  /** A part in (0, 1] of each piece's rows, side by side, at places that differ from piece to piece. */
  sample(part: number): Iterable<Piece>
}

/** A way of merging. */
export interface MergeMethod {
  readonly name: string
  /** Whether task vectors are taken relative to a base. */
  readonly needsBase: boolean
  /** Whether a tensor is to come in one piece. */
  whole?(name: string, shape: readonly number[]): boolean
  /** A pass over the files before anything is merged. */
  before?(sources: Sources): void
  /** The merged values, or, with `factor`, the merged task vector before its scale. */
  piece(piece: Piece): Tensor
  /**
   * The scale of the merged task vector, from its norm over all tensors and the task vectors' norms;
   * the result is base + factor · vector.
   */
  factor?(norm: number, taskNorms: readonly number[]): number
}

/** Options of mergeCheckpoints. */
export interface MergeOptions {
  /** The checkpoints, in order. */
  models: readonly string[]
  /** The checkpoint that all were fine-tuned from, for methods that need it. */
  base?: string
  out: string
  method: MergeMethod
  /** Told how much is done, in [0, 1]. */
  progress?: (fraction: number) => void
  signal?: AbortSignal
}

/** What was merged. */
export interface MergeResult {
  tensors: number
  parameters: number
  /** What `factor` gave; 1 for methods without. */
  factor: number
}

const floating = new Set(['F64', 'F32', 'BF16', 'F16'])
const outputs = { F64: 'float64', F32: 'float32', BF16: 'bfloat16', F16: 'float32' } as const

class Checkpoints implements Sources {
  readonly first: SafetensorsFile
  readonly #whole: (name: string, shape: readonly number[]) => boolean
  /** Squares of task vectors' entries, counted where task() is called for a method with a factor. */
  readonly squares: number[]
  readonly #counts: boolean

  constructor(
    readonly models: readonly SafetensorsFile[],
    readonly reference: SafetensorsFile | null,
    method: MergeMethod,
  ) {
    this.first = reference ?? (models[0] as SafetensorsFile)
    this.squares = models.map(() => 0)
    this.#counts = method.factor !== undefined
    this.#whole = (name, shape) => method.whole?.(name, shape) ?? false
    for (const file of models) this.#check(file)
  }

  #check(file: SafetensorsFile): void {
    const missing = this.first.names.filter((name) => !file.names.includes(name))
    if (missing.length > 0 || file.names.length !== this.first.names.length) {
      const extra = file.names.filter((name) => !this.first.names.includes(name))
      throw new FormatError(
        `${file.path} does not hold the tensors of ${this.first.path}: missing [${missing.slice(0, 5).join(', ')}], unexpected [${extra.slice(0, 5).join(', ')}]`,
      )
    }
    for (const name of this.first.names) {
      const [a, b] = [this.first.info(name), file.info(name)]
      if (a.shape.join() !== b.shape.join() || floating.has(a.type) !== floating.has(b.type)) {
        throw new ShapeError(
          `'${name}' is ${b.type} [${b.shape.join(', ')}] in ${file.path}, expected ${a.type} [${a.shape.join(', ')}] as in ${this.first.path}`,
        )
      }
    }
  }

  get count(): number {
    return this.models.length
  }

  isFloating(name: string): boolean {
    return floating.has(this.first.info(name).type)
  }

  /** Row ranges that a tensor is merged in; null where it is read as it is. */
  ranges(name: string): (readonly [number, number] | null)[] {
    const { shape } = this.first.info(name)
    const size = shape.reduce((a, b) => a * b, 1)
    const rows = shape[0] ?? 1
    if (size <= pieceElements || rows < 2 || this.#whole(name, shape)) return [null]
    const step = Math.max(1, Math.floor(pieceElements / (size / rows)))
    return Array.from({ length: Math.ceil(rows / step) }, (_, i) => [
      i * step,
      Math.min(rows, (i + 1) * step),
    ])
  }

  piece(name: string, rows: readonly [number, number] | null): Piece {
    const { shape } = this.first.info(name)
    const read = (file: SafetensorsFile) => file.read(name, rows ? { rows } : {}).to('float32')
    let base: Tensor | null = null
    const ownBase = () => {
      base ??= read(this.reference as SafetensorsFile)
      return base
    }
    return {
      name,
      shape,
      count: this.count,
      model: (i) => read(this.models[i] as SafetensorsFile),
      base: ownBase,
      task: (i) => {
        const delta = read(this.models[i] as SafetensorsFile)
        binaryInto('sub', delta, ownBase(), delta)
        if (this.#counts) {
          this.squares[i] = (this.squares[i] as number) + delta.norm().item() ** 2
        }
        return delta
      },
    }
  }

  *sample(part: number): Iterable<Piece> {
    let turn = 0
    for (const name of this.first.names) {
      if (!this.isFloating(name)) continue
      const rows = this.first.info(name).shape[0]
      for (const range of this.ranges(name)) {
        if (rows === undefined || rows === 0) {
          yield this.piece(name, null)
          continue
        }
        const [from, to] = range ?? [0, rows]
        const length = Math.max(1, Math.round((to - from) * part))
        turn = (turn + 0.6180339887498949) % 1
        const start = from + Math.floor(turn * (to - from - length + 1))
        yield this.piece(name, [start, start + length])
      }
    }
  }

  *pieces(): Iterable<Piece> {
    for (const name of this.first.names) {
      if (!this.isFloating(name)) continue
      for (const rows of this.ranges(name)) yield this.piece(name, rows)
    }
  }
}

/**
 * Merges checkpoints into a new file, which is there whole or not at all. Tensors that hold no floating
 * numbers are taken from the base, or the first checkpoint; float16 comes out as float32.
 *
 * @throws FormatError, ShapeError where the files do not hold the same tensors; ArgumentError where a
 *   method lacks its base or the output is one of the inputs
 */
export function mergeCheckpoints(options: MergeOptions): MergeResult {
  const { models, base, out, method, progress, signal } = requireOptions(options)
  if (!Array.isArray(models) || models.length === 0) {
    wrong('models', 'a list of at least one checkpoint', models)
  }
  for (const [i, path] of models.entries()) checkPath(path, `models[${i}]`)
  if (base !== undefined) checkPath(base, 'base')
  checkPath(out, 'out')
  if (typeof method?.piece !== 'function') wrong('method', 'a MergeMethod', method)
  if (progress !== undefined) checkFunction(progress, 'progress')
  if (signal !== undefined) checkInstance(signal, AbortSignal, 'signal')
  if (method.needsBase && base === undefined)
    throw new ArgumentError(`the method '${method.name}' needs a base checkpoint`)
  if ([...models, base].includes(out))
    throw new ArgumentError(`the output ${out} is one of the inputs`)
  const opened: SafetensorsFile[] = []
  const open = (path: string) => {
    const file = openSafetensors(path)
    opened.push(file)
    return file
  }
  const raw = `${out}.vector.tmp`
  try {
    const reference = method.needsBase ? open(base as string) : null
    const files = new Checkpoints(models.map(open), reference, method)
    method.before?.(files)
    const phases = method.factor ? 2 : 1
    const announced = (name: string): Announced => ({
      shape: files.first.info(name).shape,
      dtype: files.isFloating(name)
        ? outputs[files.first.info(name).type as keyof typeof outputs]
        : files.first.read(name).dtype,
    })
    const { names } = files.first
    const total = names.reduce((sum, name) => sum + files.ranges(name).length, 0) * phases
    let done = 0
    let parameters = 0
    const tick = () => {
      if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason })
      progress?.(++done / total)
    }
    const put = (
      writer: SafetensorsWriter,
      name: string,
      x: Tensor,
      rows: readonly [number, number] | null,
    ) => (rows ? writer.write(name, x, rows[0]) : writer.write(name, x))
    let factor = 1
    let vector: SafetensorsFile | null = null
    if (method.factor) {
      const floats = names.filter((name) => files.isFloating(name))
      using writer = new SafetensorsWriter(
        raw,
        Object.fromEntries(floats.map((name) => [name, { shape: files.first.info(name).shape }])),
      )
      let squares = 0
      for (const name of floats) {
        for (const rows of files.ranges(name)) {
          noGrad(() =>
            scope(() => {
              const x = method.piece(files.piece(name, rows))
              squares += x.norm().item() ** 2
              put(writer, name, x, rows)
            }),
          )
          tick()
        }
      }
      writer.close()
      factor = method.factor(Math.sqrt(squares), files.squares.map(Math.sqrt))
      vector = open(raw)
    }
    using writer = new SafetensorsWriter(
      out,
      Object.fromEntries(names.map((name) => [name, announced(name)])),
      files.first.metadata,
    )
    for (const name of names) {
      const target = announced(name).dtype as 'float32'
      parameters += files.first.info(name).shape.reduce((a, b) => a * b, 1)
      for (const rows of files.ranges(name)) {
        noGrad(() =>
          scope(() => {
            if (!files.isFloating(name)) return put(writer, name, files.first.read(name), null)
            const piece = files.piece(name, rows)
            const merged = vector
              ? piece.base().add(vector.read(name, rows ? { rows } : {}).mul(factor))
              : method.piece(piece)
            put(writer, name, merged.to(target), rows)
          }),
        )
        tick()
      }
    }
    writer.close()
    return { tensors: names.length, parameters, factor }
  } finally {
    for (const file of opened) file.close()
    if (existsSync(raw)) unlinkSync(raw)
  }
}
