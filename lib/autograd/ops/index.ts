/** Operations that autograd follows, one file a group; Tensor's methods are names for them. */

export * from './attention.js'
export * from './conv.js'
export { dropout } from './dropout.js'
export * from './elementwise.js'
export * from './embedding.js'
export * from './indexing.js'
export * from './memory.js'
export * from './norm.js'
export * from './products.js'
export * from './reductions.js'
export * from './softmax.js'
export * from './views.js'
