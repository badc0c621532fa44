/** A step that a device has no memory for changes nothing. */

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
