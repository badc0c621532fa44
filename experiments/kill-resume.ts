/**
 * A run that is killed (SIGKILL) at random moments and started again each time must end with the same
 * bits as one that never stopped. Prints the verdict.
 * Run: node dist/experiments/kill-resume.js [kills = 20] [size = 2000]
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DerPlusPlus, limited, OnlineEwc, permuted, Trainer } from '../lib/continual/index.js'
import { digits } from '../lib/data/index.js'
import * as nn from '../lib/nn/index.js'
import { AdamW } from '../lib/optim/index.js'
import { Generator } from '../lib/random/index.js'

const me = fileURLToPath(import.meta.url)

/** The run: two strategies with memories, an optimizer with moments, dropout, two epochs. */
function trainer(size: number): Trainer {
  const scenario = limited(permuted(digits(), { tasks: 3, seed: 1 }), { train: size, test: 500 })
  return new Trainer({
    scenario,
    model: (generator) =>
      new nn.Sequential(
        new nn.Linear(784, 128, { activation: 'relu', generator }),
        new nn.Dropout(0.2),
        new nn.Linear(128, scenario.outputs, { generator }),
      ),
    optimizer: (model) => new AdamW(model.parameters(), { lr: 0.001 }),
    strategies: [new DerPlusPlus({ memory: 100 }), new OnlineEwc({ samples: 50 })],
    epochs: 2,
    batchSize: 32,
    seed: 7,
  })
}

/** What the parent starts: goes on from the file where it is there, and tells the digest at the end. */
async function child(path: string, size: number): Promise<void> {
  const run = trainer(size)
  if (existsSync(path)) run.load(path)
  process.stdout.write(`started ${run.context.position.step}\n`)
  const { matrix } = await run.run({ checkpoint: { path, every: 10 } })
  const hash = createHash('sha256').update(JSON.stringify(matrix))
  for (const x of run.context.parameters)
    hash.update(new Uint8Array(Float32Array.from(x.data).buffer))
  process.stdout.write(`done ${hash.digest('hex')}\n`)
}

/** Starts a child; kills it `after` milliseconds of training. Tells where it began and how it ended. */
function start(path: string, size: number, after: number | null) {
  return new Promise<{ from: number; digest: string | null; milliseconds: number }>(
    (resolve, reject) => {
      const process_ = spawn(process.execPath, [me, 'child', path, `${size}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let text = ''
      let began = 0
      let from = 0
      let timer: NodeJS.Timeout | null = null
      process_.stdout.on('data', (part: Buffer) => {
        text += part
        if (began === 0 && text.includes('\n')) {
          began = performance.now()
          from = Number(text.split(/\s/)[1])
          if (after !== null) timer = setTimeout(() => process_.kill('SIGKILL'), after)
        }
      })
      process_.on('error', reject)
      process_.on('close', (code, signal) => {
        if (timer) clearTimeout(timer)
        if (code !== 0 && signal !== 'SIGKILL') reject(new Error(`the run ended with ${code}`))
        const digest = /done (\w+)/.exec(text)?.[1] ?? null
        resolve({ from, digest, milliseconds: performance.now() - began })
      })
    },
  )
}

/** Kills a run so often, and compares. Moments are drawn over about twice the share of a kill. */
export async function killAndResume(kills: number, size: number, seed = 1) {
  const folder = mkdtempSync(join(tmpdir(), 'palimpsest-'))
  try {
    const whole = await start(join(folder, 'whole'), size, null)
    const path = join(folder, 'killed')
    const g = new Generator(seed)
    const starts: number[] = []
    let killed = 0
    let digest: string | null = null
    while (digest === null) {
      const after = killed < kills ? (g.uniform() * 1.5 * whole.milliseconds) / kills : null
      const run = await start(path, size, after)
      starts.push(run.from)
      digest = run.digest
      if (digest === null) killed++
    }
    return { same: digest === whole.digest, killed, starts, digest }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

if (process.argv[1] === me) {
  if (process.argv[2] === 'child') {
    await child(process.argv[3] as string, Number(process.argv[4]))
  } else {
    const kills = Number(process.argv[2] ?? 20)
    const { same, killed, starts, digest } = await killAndResume(
      kills,
      Number(process.argv[3] ?? 2000),
    )
    process.stdout.write(
      `killed ${killed} times; went on from steps ${starts.join(', ')}\n${same ? 'the same bits as the run that never stopped' : 'DIFFERENT bits'}: ${digest}\n`,
    )
    process.exitCode = same && killed === kills ? 0 : 1
  }
}
