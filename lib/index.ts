/** Palimpsest: tensors, devices, errors. */

export {
  type DeviceInfo,
  type DeviceMemory,
  deviceMemory,
  devices,
  emptyCache,
  setThreads,
  synchronize,
  threads,
} from './engine/devices.js'
export * from './engine/errors.js'
export { defaultGenerator, Generator, manualSeed, rand, randint, randn } from './random/index.js'
export * from './tensor/index.js'
