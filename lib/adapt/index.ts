/** Adapting models online, without labels. */

export { Psmt, type PsmtOptions, type PsmtStep } from './psmt.js'
