/** Layers, losses and initial values for networks. */

export {
  type AttentionOptions,
  packedAttention,
  scaledDotProductAttention,
} from '../autograd/ops/attention.js'
export {
  avgPool2d,
  type Conv2dOptions,
  type ConvTranspose2dOptions,
  conv2d,
  convTranspose2d,
  maxPool2d,
} from '../autograd/ops/conv.js'
export { geluTanh } from '../autograd/ops/elementwise.js'
export { embedding } from '../autograd/ops/embedding.js'
export { col2im as fold, im2col as unfold } from '../autograd/ops/im2col.js'
export {
  type BatchStatistics,
  batchNorm,
  layerNorm,
  type RowNormOptions,
  rmsNorm,
} from '../autograd/ops/norm.js'
export { linear } from '../autograd/ops/products.js'
export { causalConv1d, selectiveScan } from '../autograd/ops/scan.js'
export { type LifOptions, lif } from '../autograd/ops/spiking.js'
export {
  type AttentionCall,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
  TransformerBlock,
  type TransformerBlockOptions,
} from './attention.js'
export { Embedding } from './embedding.js'
export * as init from './init.js'
export {
  AvgPool2d,
  Conv2d,
  ConvTranspose2d,
  Dropout,
  Flatten,
  GELU,
  Linear,
  MaxPool2d,
  ReLU,
  Sequential,
  Sigmoid,
  SiLU,
  Sine,
  SineLinear,
  Tanh,
  type WeightOptions,
} from './layers.js'
export {
  bceLoss,
  bceWithLogits,
  type CrossEntropyOptions,
  cosineEmbeddingLoss,
  cosineSimilarity,
  crossEntropy,
  huberLoss,
  klDiv,
  l1Loss,
  mseLoss,
  nllLoss,
  type Reduction,
  smoothL1Loss,
  tripletMarginLoss,
} from './losses.js'
export { Mamba, MambaBlock, type MambaOptions } from './mamba.js'
export { type GenerateOptions, GPT, type GPTOptions } from './models/gpt.js'
export { VisionTransformer, type VisionTransformerOptions } from './models/vit.js'
export {
  type BackwardHook,
  type BackwardPreHook,
  buffer,
  type ForwardHook,
  type ForwardPreHook,
  Module,
  parameter,
} from './module.js'
export { BatchNorm, type BatchNormOptions, GroupNorm, LayerNorm, RMSNorm } from './norm.js'
export { LIF } from './spiking.js'
