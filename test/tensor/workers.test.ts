import { Worker } from 'node:worker_threads'
import { test } from 'tap'
import { train } from './worker.js'

test('several workers use the engine at once and get the same bits', async (t) => {
  const expected = train()
  const started = Array.from({ length: 3 }, () => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { execArgv: [] })
    return new Promise<number[]>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  })
  // The main thread works meanwhile.
  t.same(train(), expected)
  for (const losses of await Promise.all(started)) t.same(losses, expected)
  t.ok(expected.every(Number.isFinite))
  t.ok((expected.at(-1) as number) < (expected[0] as number))
})
