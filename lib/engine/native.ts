/** The addon, loaded once for each Node environment, and the types of what it exports. */

import { errorOf } from './errors.js'
import { load } from './loader.js'

/** Memory that the engine can reach: on the CPU a typed array. */
export type NativeBuffer = Float32Array | Float64Array | Uint16Array | Int32Array | Uint8Array

/** An asynchronous call under way. */
export interface NativeJob {
  promise: Promise<unknown>
  job: number
}

/** A binding: buffers are arguments, the rest stands in the argument block. */
export type Binding = (...buffers: (NativeBuffer | NativeBuffer[] | null)[]) => unknown
/** A binding's asynchronous form. */
export type AsyncBinding = (...buffers: (NativeBuffer | NativeBuffer[] | null)[]) => NativeJob

/** Bindings by name, written as in native/addon/. */
export interface Native {
  readonly block: Float64Array
  setErrorFactory(factory: typeof errorOf): void
  abort(job: number): void
  threads(n?: number): number
  mapFile(path: string): ArrayBuffer
  cpu(): { name: string; level: string; cores: number; features: string[]; levels: string[] }
  // conv.cpp
  conv2d: Binding
  conv2dBackwardData: Binding
  conv2dBackwardWeight: Binding
  maxPool: Binding
  maxPoolBackward: Binding
  avgPool: Binding
  avgPoolBackward: Binding
  // elementwise.cpp
  unary: Binding
  binary: Binding
  where: Binding
  // linalg.cpp
  matmul: Binding
  matmulAsync: AsyncBinding
  // nn.cpp
  softmax: Binding
  softmaxBackward: Binding
  crossEntropy: Binding
  crossEntropyBackward: Binding
  // optim.cpp
  sgd: Binding
  sgdAsync: AsyncBinding
  adamw: Binding
  adamwAsync: AsyncBinding
  lion: Binding
  lionAsync: AsyncBinding
  muon: Binding
  muonAsync: AsyncBinding
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
  cumulativeSum: Binding
  allFinite: Binding
}

/** The addon. Loading throws one DeviceError that says what was tried. */
export const native: Native = load() as Native
native.setErrorFactory(errorOf)
