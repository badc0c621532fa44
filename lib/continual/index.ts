/** Continual learning: scenarios, a trainer, strategies, metrics. */

export { rotateImages } from '../data/rotate.js'
export { scenarioNamed, scenarios, strategies, strategiesNamed } from './catalog.js'
export {
  type AnyOptimizer,
  Context,
  columnsOf,
  type Position,
  type TrainingHead,
} from './context.js'
export { distillation, lastLayer, Teacher, watchInput } from './distillation.js'
export {
  type FisherOptions,
  fisherDiagonal,
  type ImportanceOptions,
  meanOverGradients,
} from './importance.js'
export { chosen, type Remembered, Reservoir } from './memory.js'
export {
  type AccuracyMatrix,
  type Estimate,
  estimate,
  type Metrics,
  metricsOf,
  studentQuantile,
} from './metrics.js'
export { mlp } from './mlp.js'
export { QuadraticPenalty } from './penalty.js'
export {
  type Algorithm,
  type Choice,
  combinations,
  type ProtocolOptions,
  type ProtocolResult,
  tuneThenEvaluate,
} from './protocol.js'
export { sectionsOf } from './report.js'
export {
  type Columns,
  classesOf,
  type Experience,
  limited,
  online,
  type Part,
  type PermutedOptions,
  permuted,
  type RotatedOptions,
  rotated,
  type Scenario,
  type Setting,
  type Split,
  type SplitOptions,
  scenarioOf,
  settings,
  split,
  transformed,
} from './scenario.js'
export { bytesIn, loadState, type StateValue, saveState } from './state.js'
export * from './strategies/index.js'
export type { Batch, Strategy, TaskDataset } from './strategy.js'
export {
  type Method,
  type MethodResult,
  type SharedOptions,
  type StudyOptions,
  study,
} from './study.js'
export {
  type ExperienceReport,
  type RunOptions,
  type RunResult,
  type StepReport,
  Trainer,
  type TrainerOptions,
} from './trainer.js'
