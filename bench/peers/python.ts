/** PyTorch, scikit-learn, NumPy, OpenBLAS and peft, in one Python process: bench/peers/main.py. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Answer, Peer } from './peer.js'

export const pythonPeers = ['torch', 'sklearn', 'numpy', 'openblas', 'peft'] as const

/** PALIMPSEST_PYTHON names the interpreter; each library that it lacks is told of. */
export function startPython(threads: number): Peer[] {
  const script = fileURLToPath(new URL('../../../bench/peers/main.py', import.meta.url))
  // Old OpenBLAS builds are sometimes held back by these; a peer runs at its best.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...env } = process.env
  const python: ChildProcess = spawn(env['PALIMPSEST_PYTHON'] ?? 'python3', [script], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...env, OMP_NUM_THREADS: String(threads) },
  })
  let broken: string | null = null
  let waiting: ((answer: Answer) => void) | null = null
  const fail = (reason: string) => {
    broken = reason
    waiting?.({ skipped: reason })
  }
  python.on('error', (error) => fail(error.message))
  python.on('exit', () => fail('the Python peer ended'))
  python.stdin?.on('error', () => fail('the Python peer ended'))
  createInterface({ input: python.stdout as NodeJS.ReadableStream }).on('line', (line) =>
    waiting?.(JSON.parse(line)),
  )
  return pythonPeers.map((library) => ({
    name: library,
    run: (row, rounds) =>
      new Promise((resolve) => {
        if (broken) return resolve({ skipped: broken })
        waiting = resolve
        python.stdin?.write(`${JSON.stringify({ library, row, threads, rounds })}\n`)
      }),
    close: () => void python.kill(),
  }))
}
