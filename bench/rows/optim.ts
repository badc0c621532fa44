/** Optimizer steps. Floor: the orthogonalizations' FLOPs, or the bytes of parameters, gradients and state. */

import { randn } from '../../lib/index.js'
import { AdamW, Muon, NorMuon } from '../../lib/optim/index.js'
import { newtonSchulzWork } from './orthogonalize.js'
import type { Row, RowMaker } from './row.js'

function adamw(n: number): Row {
  const p = randn([n])
  const g = randn([n])
  const opt = new AdamW([p])
  return { name: `adamw ${n}`, work: 28 * n, limit: 'copy', run: () => opt.step([g]) }
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
]
