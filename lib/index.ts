/** Palimpsest: tensors, devices, errors. */

export {
  type DeviceInfo,
  type DeviceMemory,
  deviceMemory,
  devices,
  elapsed,
  emptyCache,
  setThreads,
  synchronize,
  threads,
} from './engine/devices.js'
export {
  AbortError,
  ArgumentError,
  DeviceError,
  DisposedError,
  DTypeError,
  type ErrorCode,
  FormatError,
  NumericalError,
  PalimpsestError,
  ShapeError,
} from './engine/errors.js'
export { defaultGenerator, Generator, manualSeed, rand, randint, randn } from './random/index.js'
export * from './tensor/index.js'
