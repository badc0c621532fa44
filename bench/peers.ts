/** Peers that run beside ours: PyTorch in a process of its own, tfjs in this one. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What a peer answers: times in ms, or why it was not run. */
export type Answer = { ms: number[] } | { skipped: string }

/** Something that runs a row by name. */
export interface Peer {
  name: string
  run(row: string, rounds: number): Promise<Answer>
  close(): void
}

/** PyTorch, through bench/peer.py. PALIMPSEST_PYTHON names the interpreter. */
export function torchPeer(threads: number): Peer {
  const script = fileURLToPath(new URL('../../bench/peer.py', import.meta.url))
  const python: ChildProcess = spawn(process.env['PALIMPSEST_PYTHON'] ?? 'python3', [script], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  let broken: string | null = null
  let waiting: ((answer: Answer) => void) | null = null
  const fail = (reason: string) => {
    broken = reason
    waiting?.({ skipped: reason })
  }
  python.on('error', (error) => fail(error.message))
  python.on('exit', () => fail('the peer ended'))
  python.stdin?.on('error', () => fail('the peer ended'))
  createInterface({ input: python.stdout as NodeJS.ReadableStream }).on('line', (line) =>
    waiting?.(JSON.parse(line)),
  )
  return {
    name: 'torch',
    run: (row, rounds) =>
      new Promise((resolve) => {
        if (broken) return resolve({ skipped: broken })
        waiting = resolve
        python.stdin?.write(`${JSON.stringify({ row, threads, rounds })}\n`)
      }),
    close: () => void python.kill(),
  }
}

/** tfjs on its wasm backend: the training steps. */
export async function tfjsPeer(): Promise<Peer> {
  const skip = (skipped: string): Peer => ({
    name: 'tfjs-wasm',
    run: async () => ({ skipped }),
    close: () => {},
  })
  try {
    const tf = await import('@tensorflow/tfjs')
    await import('@tensorflow/tfjs-backend-wasm')
    await tf.setBackend('wasm')
    await tf.ready()
    let current = ''
    let step: () => void = () => {}
    return {
      name: 'tfjs-wasm',
      close: () => {},
      run: async (row, rounds) => {
        const match = /^train sgd ([\d-]+) (\d+)$/.exec(row)
        if (!match) return { skipped: 'only SGD steps' }
        if (current !== row) {
          const dims = (match[1] as string).split('-').map(Number)
          const batch = Number(match[2])
          const weights = dims.slice(1).map((out, i) => ({
            w: tf.variable(tf.randomNormal([dims[i] as number, out], 0, 0.05)),
            b: tf.variable(tf.zeros([out])),
          }))
          const x = tf.randomNormal([batch, dims[0] as number])
          const t = tf.oneHot(
            tf.randomUniform([batch], 0, dims.at(-1) as number, 'int32'),
            dims.at(-1) as number,
          )
          const optimizer = tf.train.sgd(1e-3)
          step = () => {
            const cost = optimizer.minimize(
              () =>
                tf.tidy(() => {
                  let y: ReturnType<typeof tf.randomNormal> = x as never
                  weights.forEach(({ w, b }, i) => {
                    y = tf.add(tf.matMul(y as never, w as never), b) as never
                    if (i < weights.length - 1) y = tf.relu(y) as never
                  })
                  return tf.losses.softmaxCrossEntropy(t, y as never) as never
                }),
              true,
            )
            cost?.dataSync()
            cost?.dispose()
          }
          current = row
          step()
        }
        const ms: number[] = []
        for (let i = 0; i < rounds; i++) {
          const begin = performance.now()
          step()
          ms.push(performance.now() - begin)
        }
        return { ms }
      },
    }
  } catch (error) {
    return skip((error as Error).message)
  }
}
