/** A step that a device has no memory for changes nothing. */

import { isDeepStrictEqual } from 'node:util'

import { test } from 'tap'
import * as p from '../../lib/index.js'
import { topK } from '../../lib/masks/index.js'
import * as optim from '../../lib/optim/index.js'
import { acceleratorsUnderTest } from '../devices.js'

const bytesOf = (xs: p.Tensor[]) =>
  Buffer.concat(xs.map((x) => Buffer.from(Float32Array.from(x.to('cpu').data).buffer)))

for (const { id, skip } of acceleratorsUnderTest()) {
  // The emulator needs minutes for matrices of this size.
  if (id.startsWith('emulated')) continue
  test(`steps without memory on ${id}`, { skip: skip ?? false }, async (t) => {
    // Two groups of shapes: scratch memory of the first would do.
    const shapes = [
      [64, 64],
      [512, 700],
    ]
    type Some = optim.Muon | optim.AdamW
    const kinds: [string, number, (xs: p.Tensor[]) => Some][] = [
      ['Muon', 6 << 20, (xs) => new optim.Muon(xs, { lr: 0.1 })],
      [
        'AdamW with masks',
        100 << 10,
        (xs) =>
          new optim.AdamW(xs, {
            lr: 0.1,
            masks: xs.map((x) => topK(x, { density: 0.5 })),
          }),
      ],
    ]
    for (const [name, room, build] of kinds) {
      const params = shapes.map((shape) => p.randn(shape).to(id))
      const grads = shapes.map((shape) => p.randn(shape).to(id))
      const optimizer = build(params)
      p.emptyCache(id)
      const before = bytesOf(params)
      // Room for the optimizer's state and less than its scratch.
      p.deviceMemory(id, p.deviceMemory(id).inUse + room)
      t.throws(() => optimizer.step(grads), p.DeviceError, `${name}: no memory`)
      p.deviceMemory(id, Infinity)
      t.ok(before.equals(bytesOf(params)), `${name}: parameters are as they were`)
      const seen: unknown[] = []
      JSON.stringify(optimizer.stateDict().state, (key, value) => {
        if (key === 'step' || ArrayBuffer.isView(value)) seen.push(value)
        return ArrayBuffer.isView(value) ? 0 : value
      })
      const zero = (x: unknown) =>
        typeof x === 'number' ? x === 0 : (x as Float32Array).every((v) => v === 0)
      // Masks are kept as 16-bit words; all else is momenta, still zero.
      const moved = seen.filter((x) => !(x instanceof Uint16Array) && !zero(x))
      t.equal(moved.length, 0, `${name}: and its state`)
      t.ok(seen.length >= shapes.length, `${name}: which was looked at`)
      t.doesNotThrow(() => optimizer.step(grads), `${name}: with memory it goes on`)
      for (const x of [...params, ...grads]) x.dispose()
    }
  })
}

/** State buffers as bytes; what a first attempt made and never used is zeros. */
const statesOf = (optimizer: { stateDict(): optim.OptimizerState }) =>
  optimizer
    .stateDict()
    .state.map((entry) =>
      Object.fromEntries(
        Object.entries(entry).filter(
          ([, x]) => typeof x === 'number' || x.some((v: number) => v !== 0),
        ),
      ),
    )

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`steps with too little memory on ${id}, at every limit`, {
    skip: skip ?? false,
  }, async (t) => {
    const g = new p.Generator(23)
    const shapes: [number, number][] = [
      [40, 24],
      [130, 12],
      [24, 70],
    ]
    const make = (kind: 'muon' | 'normuon', graph: 'auto' | false) => {
      const params = shapes.map((shape) => p.randn(shape, { generator: g }).to(id))
      const grads = shapes.map((shape) => p.randn(shape, { generator: g }).to(id))
      // AdamW comes first: it must not have moved when there is no room for the matrices.
      const groups = [
        { algorithm: 'adamw' as const, params: params.slice(2) },
        { params: params.slice(0, 2) },
      ]
      const Kind = kind === 'muon' ? optim.Muon : optim.NorMuon
      return { params, grads, optimizer: new Kind(groups, { lr: 0.1, graph }) }
    }
    for (const kind of ['muon', 'normuon'] as const) {
      for (const graph of ['auto', false] as const) {
        const name = `${kind}, graph ${graph}`
        const { params, grads, optimizer } = make(kind, graph)
        const order = [grads[2], grads[0], grads[1]] as p.Tensor[]
        let refused = 0
        let steps = 0
        for (let room = 0; steps < 4 && room < 1 << 26; ) {
          p.emptyCache(id)
          p.deviceMemory(id, p.deviceMemory(id).inUse + room)
          const before = [bytesOf(params).toString('hex'), statesOf(optimizer)]
          try {
            optimizer.step(order)
            steps++
          } catch (error) {
            refused++
            room = Math.max(4096, 2 * room)
            t.ok(error instanceof p.DeviceError, `${name}: ${error}`)
            p.deviceMemory(id, Infinity)
            const after = [bytesOf(params).toString('hex'), statesOf(optimizer)]
            t.ok(isDeepStrictEqual(after, before), `${name}: all is as it was`)
          } finally {
            p.deviceMemory(id, Infinity)
          }
        }
        t.ok(refused > 0, `${name}: ${refused} steps had no memory`)
        t.equal(steps, 4, `${name}: and then had`)
        // Those steps are worth as much as steps that never lacked any.
        const plain = optimizer.stateDict()
        t.same(
          plain.state.map(({ step }) => step),
          [4, 4, 4],
          name,
        )
        for (const x of [...params, ...grads]) x.dispose()
      }
    }
  })
}
