/** Optimizer steps. Floor: the orthogonalizations' FLOPs, or the bytes of parameters, gradients and state. */

import { randn } from '../../lib/index.js'
import { DiagonalFisher, random } from '../../lib/masks/index.js'
import { AdamW, Lion, Muon, NorMuon, SGD } from '../../lib/optim/index.js'
import { newtonSchulzWork } from './orthogonalize.js'
import type { Row, RowMaker } from './row.js'

function adamw(n: number): Row {
  const p = randn([n])
  const g = randn([n])
  const opt = new AdamW([p])
  return { name: `adamw ${n}`, work: 28 * n, limit: 'copy', run: () => opt.step([g]) }
}

function other(kind: 'sgd' | 'lion', n: number): Row {
  const p = randn([n])
  const g = randn([n])
  const opt = kind === 'sgd' ? new SGD([p], { momentum: 0.9 }) : new Lion([p])
  return { name: `${kind} ${n}`, work: 20 * n, limit: 'copy', run: () => opt.step([g]) }
}

/** Floor: at density d the lines of p and g that hold an entry that is on, and compact m and v. */
function maskedAdamw(n: number, density: number): Row {
  const p = randn([n])
  const g = randn([n])
  const opt = new AdamW([p], { masks: [random([n], density, 1)] })
  const lines = 1 - (1 - density) ** 16
  const work = n * (12 * lines + 16 * density + 1 / 8)
  return { name: `masked adamw ${n} ${density}`, work, limit: 'copy', run: () => opt.step([g]) }
}

/** Reads F and g, writes F. */
function fisherAverage(n: number): Row {
  const g = randn([n])
  const fisher = new DiagonalFisher([g], { decay: 0.9 })
  return { name: `fisher ${n}`, work: 12 * n, limit: 'copy', run: () => fisher.update([g]) }
}

/** Hidden matrices of `layers` layers of GPT-2 small. */
function muon(kind: 'muon' | 'normuon', layers: number): Row {
  const shapes = [...Array.from({ length: 4 }, () => [768, 768]), [3072, 768], [768, 3072]]
  const all = Array.from({ length: layers }, () => shapes).flat() as [number, number][]
  const params = all.map((shape) => randn(shape))
  const grads = all.map((shape) => randn(shape))
  const opt = kind === 'muon' ? new Muon(params) : new NorMuon(params)
  const work = all.reduce((sum, [r, c]) => sum + newtonSchulzWork(r, c), 0)
  return { name: `${kind} ${layers}`, work, limit: 'bf16', run: () => opt.step(grads) }
}

export const rows: RowMaker[] = [
  ['muon 1', () => muon('muon', 1)],
  ['muon 12', () => muon('muon', 12)],
  ['normuon 1', () => muon('normuon', 1)],
  ['adamw 16000000', () => adamw(16_000_000)],
  ['sgd 16000000', () => other('sgd', 16_000_000)],
  ['lion 16000000', () => other('lion', 16_000_000)],
  ['masked adamw 16000000 0.1', () => maskedAdamw(16_000_000, 0.1)],
  ['fisher 16000000', () => fisherAverage(16_000_000)],
]
