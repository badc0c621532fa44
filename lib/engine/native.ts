/** The addon, loaded once for each Node environment, and the types of what it exports. */

import { errorOf } from './errors.js'
import { load } from './loader.js'

/** Memory on a device, opaque to JavaScript. */
export interface DeviceBuffer {
  readonly [deviceBuffer]: true
}
declare const deviceBuffer: unique symbol

/** Memory on the CPU. */
export type HostBuffer = Float32Array | Float64Array | Uint16Array | Int32Array | Uint8Array

/** Memory that the engine can reach: a typed array on the CPU, an opaque handle elsewhere. */
export type NativeBuffer = HostBuffer | DeviceBuffer

/** A device's recorded work, opaque to JavaScript. */
export interface NativeRecorder {
  readonly [recorder]: true
}
declare const recorder: unique symbol

/** How often an optimizer's steps on a device were recorded, replayed, and started kernel by kernel. */
export interface GraphStatistics {
  recorded: number
  replayed: number
  plain: number
  /** Why steps are not recorded any more, where they are not. */
  reason?: string
}

/** What a plugin says of one of its devices. */
export interface PluginDevice {
  name: string
  /** Separated by commas. */
  features: string
  memoryBytes: number
  /** Why it cannot be used; empty where it can. */
  reason: string
}

/** A device's memory as the engine keeps it, in bytes. */
export interface DeviceMemory {
  /** Handed out. */
  inUse: number
  /** Kept to be handed out again. */
  cached: number
  /** The most that was ever handed out. */
  peak: number
  /** What inUse and cached together stay below. */
  limit: number
  requests: number
  /** Requests that needed no new memory. */
  reused: number
}

/** An asynchronous call under way. */
export interface NativeJob {
  promise: Promise<unknown>
  job: number
}

/** A binding: buffers are arguments, the rest stands in the argument block. */
export type Binding = (
  ...buffers: (NativeBuffer | NativeBuffer[] | NativeRecorder | null)[]
) => unknown
/** A binding's asynchronous form. */
export type AsyncBinding = (
  ...buffers: (NativeBuffer | NativeBuffer[] | NativeRecorder | null)[]
) => NativeJob

/** Bindings by name, written as in native/addon/. */
export interface Native {
  readonly block: Float64Array
  setErrorFactory(factory: typeof errorOf): void
  abort(job: number): void
  threads(n?: number): number
  mapFile(path: string): ArrayBuffer
  /** Prepares the memory of a new buffer for the kernels; its address modulo 64. */
  settle(buffer: ArrayBuffer): number
  cpu(): { name: string; level: string; cores: number; features: string[]; levels: string[] }
  // attention.cpp
  attention: Binding
  attentionBackward: Binding
  // conv.cpp
  conv2d: Binding
  conv2dBackwardData: Binding
  conv2dBackwardWeight: Binding
  maxPool: Binding
  maxPoolBackward: Binding
  avgPool: Binding
  avgPoolBackward: Binding
  // device.cpp
  pluginDevices(path: string): PluginDevice[] | string
  openDevice(path: string, index: number): number
  allocateBuffer(device: number, bytes: number): DeviceBuffer
  releaseBuffer(buffer: DeviceBuffer): void
  upload(buffer: DeviceBuffer, array: HostBuffer): void
  download(buffer: DeviceBuffer, byteOffset: number, array: HostBuffer): void
  downloadAsync<T extends HostBuffer>(
    buffer: DeviceBuffer,
    byteOffset: number,
    array: T,
  ): Promise<T>
  deviceMemory(device: number, limit?: number): DeviceMemory
  trimDevice(device: number): void
  synchronizeDevice(device: number): void
  clockDevice(device: number, point: 0 | 1): number
  makeRecorder(device: number): NativeRecorder | null
  recorderStatistics(recorder: NativeRecorder): GraphStatistics
  // decompositions.cpp
  qr: Binding
  qrAsync: AsyncBinding
  cholesky: Binding
  choleskyAsync: AsyncBinding
  solve: Binding
  solveAsync: AsyncBinding
  solveTriangular: Binding
  solveTriangularAsync: AsyncBinding
  eigh: Binding
  eighAsync: AsyncBinding
  svd: Binding
  svdAsync: AsyncBinding
  randomizedSvd: Binding
  randomizedSvdAsync: AsyncBinding
  // elementwise.cpp
  unary: Binding
  binary: Binding
  where: Binding
  // embedding.cpp
  gatherRows: Binding
  scatterRows: Binding
  // indexing.cpp
  gather: Binding
  scatter: Binding
  nonzero: Binding
  // linalg.cpp
  matmul: Binding
  matmulAsync: AsyncBinding
  linearBackward: Binding
  // masks.cpp
  select: Binding
  selectAsync: AsyncBinding
  sortRows: Binding
  magnitudeCounts: Binding
  maskLogic: Binding
  maskCount: Binding
  maskPack: Binding
  maskUnpack: Binding
  maskApply: Binding
  maskNm: Binding
  maskCarry: Binding
  // nn.cpp
  softmax: Binding
  softmaxBackward: Binding
  crossEntropy: Binding
  crossEntropyBackward: Binding
  // norm.cpp
  rowNorm: Binding
  rowNormBackward: Binding
  batchNorm: Binding
  batchNormBackward: Binding
  // optim.cpp
  optimizerStep: Binding
  optimizerStepAsync: AsyncBinding
  fisher: Binding
  orthogonalize: Binding
  orthogonalizeAsync: AsyncBinding
  // probe.cpp
  probe: Binding
  // random.cpp
  randomUniform: Binding
  randomNormal: Binding
  randomIntegers: Binding
  randomPermutation: Binding
  dropout: Binding
  // reduce.cpp
  reduce: Binding
  cumulative: Binding
  allFinite: Binding
  // scan.cpp
  selectiveScan: Binding
  selectiveScanBackward: Binding
  causalConv: Binding
  causalConvBackward: Binding
  // spiking.cpp
  lif: Binding
  lifBackward: Binding
}

/** The addon. Loading throws one DeviceError that says what was tried. */
export const native: Native = load() as Native
native.setErrorFactory(errorOf)
