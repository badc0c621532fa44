/** Layers, losses and initial values for networks. */

export { avgPool2d, type Conv2dOptions, conv2d, maxPool2d } from '../autograd/ops/conv.js'
export { linear } from '../autograd/ops/products.js'
export * as init from './init.js'
export {
  AvgPool2d,
  Conv2d,
  Dropout,
  Flatten,
  GELU,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  Sigmoid,
  SiLU,
  Tanh,
  type WeightOptions,
} from './layers.js'
export {
  bceWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  klDiv,
  mseLoss,
  type Reduction,
} from './losses.js'
export { buffer, type ForwardHook, Module, parameter } from './module.js'
