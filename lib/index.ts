/** Palimpsest: tensors, devices, errors. */

export * from './engine/errors.js'
