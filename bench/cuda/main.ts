/**
 * `npm run bench:cuda -- [filter …] [--device cuda:0] [--out file] [--list]`: the rows of the CUDA engine's bars
 * beside the best peers on the same card. The raw results go to bench/results/<day>-<card>.json unless `--out`
 * names another file, and to stdout. `--list` names rows and peers and runs nothing. Exits with 2, and the
 * reason, where there is no GPU.
 */

import { existsSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchDevice, type DeviceDocument, type DeviceResult, listRows } from './run.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: 'string', default: 'cuda:0' },
    out: { type: 'string' },
    list: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
  },
})

const say = (text: string) => process.stderr.write(`${text}\n`)

function fileOf({ date, device }: DeviceDocument): string | null {
  const folder = 'bench/results'
  const card = device.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  return existsSync(folder) ? `${folder}/${date.slice(0, 10)}-${card}.json` : null
}

function tell({ ms, rate, unit, error, peers, bars }: DeviceResult): void {
  say(`  ${ms.median.toPrecision(4)} ms, ${rate.toExponential(3)} ${unit}, error ${error}`)
  for (const [peer, x] of Object.entries(peers)) {
    const bar = bars.find((b) => b.peer === peer)
    const must = bar ? ` (must reach ${bar.must})` : ''
    say('skipped' in x ? `  ${peer}: ${x.skipped}` : `  ${peer}: ${x.ratio.toFixed(2)}×${must}`)
  }
}

if (values.list) {
  process.stdout.write(`${JSON.stringify(await listRows(positionals), null, 1)}\n`)
} else {
  const outcome = await benchDevice({
    device: values.device,
    filters: positionals,
    small: values.small,
    peers: !values['no-peers'],
    onRow: say,
    onResult: tell,
  })
  if ('reason' in outcome) {
    say(`nothing was measured: ${outcome.reason}`)
    process.exitCode = 2
  } else {
    const { document } = outcome
    const text = `${JSON.stringify(document, null, 1)}\n`
    const file = values.out ?? (values.small ? null : fileOf(document))
    if (file) writeFileSync(file, text)
    process.stdout.write(text)
  }
}
