/**
 * The trainer: one flat loop over experiences, epochs and steps. Everything that makes a method is in
 * the strategies (strategy.ts, which shows the order of hooks); the loop knows none of them.
 *
 * A run can be saved after any step and goes on to the same bits: model, optimizer, strategies' state,
 * random numbers and the place in the data are in the checkpoint; the order of data is drawn anew from
 * (seed, experience, epoch).
 */

import { setImmediate as turn } from 'node:timers/promises'
import type { Dataset } from '../data/dataset.js'
import {
  checkChoice,
  checkFunction,
  checkInstance,
  checkInteger,
  checkOptions,
  checkPath,
  requireOptions,
  wrong,
} from '../engine/check.js'
import { AbortError, ArgumentError, FormatError, NumericalError } from '../engine/errors.js'
import { Module } from '../nn/module.js'
import type { OptimizerState } from '../optim/optimizer.js'
import { SGD } from '../optim/sgd.js'
import { Generator, withGenerator } from '../random/index.js'
import { noGrad, scope, type Tensor } from '../tensor/index.js'
import { batchOf, stretchOf } from './batch.js'
import {
  type AnyOptimizer,
  Context,
  columnsOf,
  type Position,
  type TrainingHead,
} from './context.js'
import { type AccuracyMatrix, type Metrics, metricsOf } from './metrics.js'
import { checkExamples, checkScenario, type Experience, type Scenario } from './scenario.js'
import { bytesIn, loadState, type StateValue, saveState } from './state.js'
import type { Strategy, TaskDataset } from './strategy.js'

/** What a run is made of. */
export interface TrainerOptions {
  scenario: Scenario
  /** Makes the model; its last layer has `scenario.outputs` outputs. Called again for teachers. */
  model: (generator: Generator) => Module
  /** In the order in which their hooks run; none is the naive way. */
  strategies?: readonly Strategy[]
  /** SGD with learning rate 0.1 by default. */
  optimizer?: (model: Module) => AnyOptimizer | AnyOptimizer[]
  /** Whether one optimizer lives through all experiences; by default each begins with a new one. */
  keepOptimizer?: boolean
  /** Passes over each experience; 1 by default, and always in an online stream. */
  epochs?: number
  /** 32 by default; an online stream has its own. */
  batchSize?: number
  /** Of weights, data order and strategies' draws; 0 by default. */
  seed?: number
  /** See TrainingHead; 'seen' by default. */
  trainingHead?: TrainingHead
  /**
   * Which experiences are measured after each: those 'seen' and the next one, for forward transfer
   * (default), or 'all'.
   */
  measure?: 'seen' | 'all'
}

/** What is told after a step. */
export interface StepReport extends Position {
  loss: number
  /** Steps of the whole run, as far as known: what comes is taken to be as long as this experience. */
  steps: number
}

/** What is told after an experience. */
export interface ExperienceReport {
  index: number
  name: string
  /** Accuracy on every experience now; null where not measured. */
  accuracies: (number | null)[]
  /** Mean loss of its last epoch. */
  loss: number
  /** Seconds of training, hooks included. */
  trainSeconds: number
  measureSeconds: number
  /** Bytes that the strategies keep now. */
  strategyBytes: number
  /** Resident memory of the process now. */
  processBytes: number
}

/** Options of one call of run(). */
export interface RunOptions {
  /** Stops between two steps with AbortError; the trainer can go on or be saved afterwards. */
  signal?: AbortSignal
  onStep?: (report: StepReport) => void
  onExperience?: (report: ExperienceReport) => void
  /** Saves here every so many steps and after each experience. */
  checkpoint?: { path: string; every: number }
}

/** What came out. */
export interface RunResult {
  matrix: AccuracyMatrix
  /** Accuracies before training. */
  untrained: (number | null)[]
  metrics: Metrics
  experiences: ExperienceReport[]
}

/** A number for a generator from a seed and names (FNV-1a over both halves of 52 bits). */
function derived(seed: number, ...keys: (string | number)[]): number {
  let low = 0x811c9dc5
  let high = 0x2f3b6c51
  for (const char of `${seed}/${keys.join('/')}`) {
    const code = char.codePointAt(0) as number
    low = Math.imul(low ^ code, 0x01000193)
    high = Math.imul(high ^ (code + 0x5bd1), 0x01000193)
  }
  return ((high >>> 0) % 2 ** 20) * 2 ** 32 + (low >>> 0)
}

/** Test examples kept between measurements, in bytes. */
const keptTestBytes = 64e6

/** Trains a model on a stream of experiences. */
export class Trainer {
  readonly context: Context
  readonly strategies: readonly Strategy[]
  readonly reports: ExperienceReport[] = []
  readonly #options: Required<Omit<TrainerOptions, 'strategies' | 'scenario'>>
  readonly #generators: Generator[]
  /** What layers draw from: where they took the default generator, and where that of their weights. */
  readonly #draws: Generator
  readonly #weights: Generator
  readonly #tests = new Map<number, Dataset>()
  #testBytes = 0
  #untrained: (number | null)[] | null = null
  #epochLoss = { sum: 0, steps: 0 }
  #seconds = 0
  #busy = false

  constructor(options: TrainerOptions) {
    const { scenario, strategies = [] } = requireOptions(options)
    checkScenario(scenario)
    checkFunction(options.model, 'model')
    if (options.optimizer !== undefined) checkFunction(options.optimizer, 'optimizer')
    if (!Array.isArray(strategies)) wrong('strategies', 'a list of strategies', strategies)
    const o = {
      model: options.model,
      optimizer: options.optimizer ?? ((model: Module) => new SGD(model.parameters(), { lr: 0.1 })),
      keepOptimizer: options.keepOptimizer ?? false,
      epochs: scenario.online ? 1 : checkInteger(options.epochs ?? 1, 'epochs', 1),
      batchSize: scenario.online ?? checkInteger(options.batchSize ?? 32, 'batchSize', 1),
      seed: checkInteger(options.seed ?? 0, 'seed', 0),
      trainingHead: checkChoice(options.trainingHead ?? 'seen', 'trainingHead', ['seen', 'own']),
      measure: checkChoice(options.measure ?? 'seen', 'measure', ['seen', 'all']),
    }
    const names = strategies.map((strategy) => strategy?.name)
    for (const [i, name] of names.entries()) {
      if (typeof name !== 'string') wrong(`strategies[${i}].name`, 'a string', name)
      if (names.indexOf(name) !== i) wrong('strategies', 'each name once', names)
    }
    const modelFrom = (weights: Generator) => withGenerator(this.#draws, () => o.model(weights))
    const newGenerator = () => new Generator(derived(o.seed, 'weights'))
    this.#draws = new Generator(derived(o.seed, 'draws'))
    this.#weights = newGenerator()
    const model = modelFrom(this.#weights)
    if (!(model instanceof Module)) wrong('model', 'a function that makes a Module', model)
    this.#options = o
    this.strategies = strategies
    this.#generators = names.map((name) => new Generator(derived(o.seed, 'strategy', name)))
    this.context = new Context(
      scenario,
      model,
      () => modelFrom(newGenerator()),
      o.trainingHead,
      o.epochs,
      o.batchSize,
    )
    this.#newOptimizer()
  }

  get done(): boolean {
    return this.context.position.experience >= this.context.scenario.experiences.length
  }

  /** The result; throws ArgumentError before the run is done. */
  get result(): RunResult {
    if (!this.done) throw new ArgumentError('the run is not done: there is no result yet')
    const matrix = this.reports.map(({ accuracies }) => accuracies)
    const untrained = this.#untrained ?? []
    // A class is no answer before it was seen: nothing is transferred forward there.
    const forward = this.context.scenario.setting === 'class' ? null : untrained
    const metrics = metricsOf(matrix, forward)
    return { matrix, untrained, metrics, experiences: this.reports }
  }

  /** Trains from where the run is to its end. */
  async run(options: RunOptions = {}): Promise<RunResult> {
    const { signal, onStep, onExperience, checkpoint } = checkOptions(options)
    if (this.#busy) throw new ArgumentError('this trainer runs already')
    if (checkpoint !== undefined) {
      checkPath(requireOptions(checkpoint, 'checkpoint').path, 'checkpoint.path')
      checkInteger(checkpoint.every, 'checkpoint.every', 1)
    }
    if (signal !== undefined) checkInstance(signal, AbortSignal, 'signal')
    if (onStep !== undefined) checkFunction(onStep, 'onStep')
    if (onExperience !== undefined) checkFunction(onExperience, 'onExperience')
    if (this.done) return this.result
    this.#busy = true
    const c = this.context
    const { position: at, scenario } = c
    const { experiences } = scenario
    const save = () => checkpoint && this.save(checkpoint.path)
    try {
      if (at.step === 0 && at.experience === 0 && this.#untrained === null) {
        this.#untrained = this.#measure(experiences)
        this.#between((s) => s.beforeTraining?.(c))
      }
      while (at.experience < experiences.length) {
        const { experience } = c
        let began = performance.now()
        c.trainData = this.#data(experience)
        const n = c.trainData.labels.length
        const batches = Math.ceil(n / c.batchSize)
        if (at.epoch === 0 && at.batch === 0) {
          if (!this.#options.keepOptimizer && at.experience > 0) this.#newOptimizer()
          this.#between((s) => s.beforeExperience?.(c))
        }
        for (; at.epoch < c.epochs; at.epoch++, at.batch = 0) {
          if (at.batch === 0) {
            this.#epochLoss = { sum: 0, steps: 0 }
            this.#between((s) => s.beforeEpoch?.(c))
          }
          const order = new Generator(
            derived(this.#options.seed, 'order', at.experience, at.epoch),
          ).permutation(n)
          while (at.batch < batches) {
            const rows = order.subarray(at.batch * c.batchSize, (at.batch + 1) * c.batchSize)
            const loss = this.#step(rows)
            at.batch++
            at.step++
            this.#epochLoss.sum += loss
            this.#epochLoss.steps++
            const here = at.epoch * batches + at.batch
            const ahead = (experiences.length - at.experience) * c.epochs * batches
            onStep?.({ ...at, loss, steps: at.step + ahead - here })
            const now = performance.now()
            this.#seconds += (now - began) / 1000
            if (checkpoint && at.step % checkpoint.every === 0) save()
            // Timers, signals and the terminal have their turn.
            if (at.step % 16 === 0) await turn()
            if (signal?.aborted) throw new AbortError()
            began = performance.now()
          }
          this.#between((s) => s.afterEpoch?.(c))
        }
        this.#between((s) => s.afterExperience?.(c))
        this.#seconds += (performance.now() - began) / 1000
        const report = this.#report(experience)
        onExperience?.(report)
        Object.assign(at, { experience: at.experience + 1, epoch: 0, batch: 0 })
        this.#seconds = 0
        if (at.experience < experiences.length) save()
      }
      this.#between((s) => s.afterTraining?.(c))
      save()
      return this.result
    } finally {
      this.#busy = false
    }
  }

  /** One step on rows of the current data; returns the loss. */
  #step(rows: Int32Array): number {
    const c = this.context
    const train = () => {
      c.fresh = batchOf(c.trainData, rows, c.position.experience)
      c.batch = c.fresh
      this.#each((s) => s.beforeStep?.(c))
      this.#each((s) => {
        if (s.batch) c.batch = s.batch(c, c.batch)
      })
      c.logits = c.forward(c.batch.inputs)
      let loss = c.classify(c.logits, c.batch)
      this.#each((s) => {
        if (s.loss) loss = s.loss(c, loss)
      })
      const value = loss.item()
      if (!Number.isFinite(value)) {
        const { experience, step } = c.position
        throw new NumericalError(
          `the loss is ${value} at step ${step}, in experience ${experience}: lower the learning rate or a strategy's strength`,
        )
      }
      loss.backward()
      this.#each((s) => s.afterBackward?.(c))
      for (const optimizer of c.optimizers) optimizer.step()
      this.#each((s) => s.afterStep?.(c))
      for (const x of c.parameters) x.grad = null
      return value
    }
    return withGenerator(this.#draws, () => scope(train))
  }

  #data(experience: Experience): TaskDataset {
    const name = `scenario.experiences[${experience.index}].train()`
    let data: TaskDataset = checkExamples(experience.train(), name)
    this.#each((s) => {
      if (s.data) data = s.data(this.context, data)
    })
    return data
  }

  /** Calls a hook of every strategy, with its random numbers at hand. */
  #each(hook: (strategy: Strategy, index: number) => void): void {
    this.strategies.forEach((strategy, i) => {
      this.context.generator = this.#generators[i] as Generator
      withGenerator(this.#draws, () => hook(strategy, i))
    })
  }

  /** The same for hooks outside steps: what they make and do not keep is disposed. */
  #between(hook: (strategy: Strategy) => void): void {
    scope(() => this.#each(hook))
  }

  #newOptimizer(): void {
    const made = this.#options.optimizer(this.context.model)
    this.context.optimizers = Array.isArray(made) ? made : [made]
  }

  #report({ index, name }: Experience): ExperienceReport {
    const { experiences } = this.context.scenario
    const ahead = this.#options.measure === 'all' ? experiences.length : index + 2
    const began = performance.now()
    const accuracies = this.#measure(experiences.slice(0, ahead))
    const measured = (performance.now() - began) / 1000
    const report: ExperienceReport = {
      index,
      name,
      accuracies,
      loss: this.#epochLoss.sum / this.#epochLoss.steps,
      trainSeconds: this.#seconds,
      measureSeconds: measured,
      strategyBytes: this.strategies.reduce(
        (sum, s) => sum + (s.bytes?.() ?? bytesIn(s.state?.())),
        0,
      ),
      processBytes: process.memoryUsage.rss(),
    }
    this.reports.push(report)
    return report
  }

  /** Accuracies on the given experiences; null for the others. */
  #measure(wanted: readonly Experience[]): (number | null)[] {
    const accuracies: (number | null)[] = this.context.scenario.experiences.map(() => null)
    for (const experience of wanted) {
      this.#between((s) => s.beforeEvaluation?.(this.context, experience))
      accuracies[experience.index] = this.accuracy(experience)
      this.#between((s) => s.afterEvaluation?.(this.context, experience))
    }
    return accuracies
  }

  /** Test examples are made once while they fit, else whenever they are asked for. */
  #testData(experience: Experience): Dataset {
    const kept = this.#tests.get(experience.index)
    if (kept) return kept
    const name = `scenario.experiences[${experience.index}].test()`
    const data = checkExamples(experience.test(), name)
    const { byteLength } = data.inputs
    if (this.#testBytes + byteLength <= keptTestBytes) {
      this.#testBytes += byteLength
      this.#tests.set(experience.index, data)
    }
    return data
  }

  /** The model's accuracy now on an experience's test examples. */
  accuracy(experience: Experience): number {
    const { context: c } = this
    const data = this.#testData(experience)
    const n = data.labels.length
    const columns = c.answerColumns(experience.index)
    const training = c.model.training
    let hits = 0
    c.model.eval()
    try {
      for (let start = 0; start < n; start += 512) {
        hits += scope(() =>
          noGrad(() => {
            const { inputs, targets } = stretchOf(data, start, Math.min(start + 512, n))
            const answers = columnsOf(c.forward(inputs), columns).argmax(1)
            const wanted = columns[0] === 0 ? targets : targets.sub(columns[0])
            return answers.eq(wanted).sum().item()
          }),
        )
      }
    } finally {
      c.model.train(training)
    }
    return hits / n
  }

  // ---- saving ------------------------------------------------------------------------------------

  /** What a checkpoint must agree with to be taken over. */
  #identity() {
    const { scenario, epochs, batchSize, names, trainingHead } = this.context
    return {
      scenario: scenario.name,
      experiences: scenario.experiences.length,
      outputs: scenario.outputs,
      epochs,
      batchSize,
      trainingHead,
      seed: this.#options.seed,
      strategies: this.strategies.map(({ name }) => name),
      parameters: [...names],
    }
  }

  #allGenerators(): Generator[] {
    return [this.#draws, this.#weights, ...this.#generators]
  }

  /** Writes everything needed to go on; whole or not at all. */
  save(path: string): void {
    saveState(path, {
      identity: this.#identity(),
      position: { ...this.context.position },
      model: this.context.model.stateDict(),
      optimizers: this.context.optimizers.map((o) => o.stateDict() as unknown as StateValue),
      strategies: this.strategies.map((s) => s.state?.() ?? null),
      generators: this.#allGenerators().map(({ position }) => position),
      reports: this.reports as unknown as StateValue,
      untrained: this.#untrained,
      epochLoss: this.#epochLoss,
      seconds: this.#seconds,
    })
  }

  /**
   * Takes over a checkpoint; run() goes on from there.
   *
   * @throws FormatError where the file is damaged, ArgumentError where it is of another run
   */
  load(path: string): void {
    if (this.#busy) throw new ArgumentError('this trainer runs: load() must wait')
    const state = loadState(path) as unknown as Record<string, unknown> & {
      identity: Record<string, unknown>
      position: Position
      model: Record<string, Tensor>
      optimizers: OptimizerState[]
      strategies: StateValue[]
      generators: number[]
      reports: ExperienceReport[]
      untrained: (number | null)[] | null
      epochLoss: { sum: number; steps: number }
      seconds: number
    }
    const lists = [state?.optimizers, state?.strategies, state?.generators, state?.reports]
    const records = [state?.identity, state?.position, state?.model]
    if (!lists.every(Array.isArray) || records.some((r) => typeof r !== 'object' || r === null)) {
      throw new FormatError(`${path} holds no checkpoint of a trainer`)
    }
    for (const [key, mine] of Object.entries(this.#identity())) {
      const theirs = state.identity[key]
      if (JSON.stringify(theirs) !== JSON.stringify(mine)) {
        throw new ArgumentError(
          `${path} is of another run: its ${key} is ${JSON.stringify(theirs)}, this trainer's ${JSON.stringify(mine)}`,
        )
      }
    }
    const c = this.context
    c.model.loadStateDict(state.model)
    this.#newOptimizer()
    if (state.optimizers.length !== c.optimizers.length) {
      throw new ArgumentError(
        `${path} has ${state.optimizers.length} optimizers, this trainer ${c.optimizers.length}`,
      )
    }
    c.optimizers.forEach((o, i) => {
      o.loadStateDict(state.optimizers[i] as OptimizerState)
    })
    Object.assign(c.position, state.position)
    this.#each((s, i) => {
      const saved = state.strategies[i] ?? null
      if (saved !== null) s.loadState?.(saved, c)
    })
    this.#allGenerators().forEach((g, i) => {
      g.position = checkInteger(state.generators[i], 'generators', 0)
    })
    this.reports.splice(0, this.reports.length, ...state.reports)
    this.#untrained = state.untrained
    this.#epochLoss = state.epochLoss
    this.#seconds = state.seconds
  }
}
