/**
 * `npm run bench:cuda -- [filter …] [--device cuda:0] [--out file]`: the rows of the CUDA engine's bars beside
 * PyTorch on the same card. Exits with 2, and the reason, where there is no GPU.
 */

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchDevice } from './run.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: 'string', default: 'cuda:0' },
    out: { type: 'string' },
    small: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
  },
})
const { device, out, small } = values
const outcome = await benchDevice({
  device,
  filters: positionals,
  small,
  peers: !values['no-peers'],
  onRow: (name) => process.stderr.write(`${name}\n`),
})
if ('reason' in outcome) {
  process.stderr.write(`nothing was measured: ${outcome.reason}\n`)
  process.exitCode = 2
} else {
  const text = `${JSON.stringify(outcome.document, null, 1)}\n`
  if (out) writeFileSync(out, text)
  process.stdout.write(text)
}
