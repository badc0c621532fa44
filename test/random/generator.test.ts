import { test } from 'tap'
import { Generator, manualSeed, rand, randint, randn } from '../../lib/index.js'
import { philox } from '../../lib/random/generator.js'

test('philox: the published vectors of Random123 (kat_vectors, philox4x32 10)', async (t) => {
  const ones = 0xffffffff
  t.same(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  t.same(
    philox([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  )
  t.same(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  )
})

test('a seed gives the same numbers, and a position goes on', async (t) => {
  const a = new Generator(7)
  const b = new Generator(7)
  const first = Array.from({ length: 10 }, () => a.uniform())
  t.same(
    first,
    Array.from({ length: 10 }, () => b.uniform()),
  )
  b.position = 3
  t.equal(b.uniform(), first[3])
  t.notSame(first[0], new Generator(8).uniform())
})

test('moments and ranges', async (t) => {
  manualSeed(1)
  const u = rand([20000])
  const n = randn([20000])
  const k = randint(-3, 4, [20000])
  t.ok(Math.abs(u.mean().item() - 0.5) < 0.01 && u.min().item() >= 0 && u.max().item() < 1)
  t.ok(Math.abs(n.mean().item()) < 0.03 && Math.abs(n.std().item() - 1) < 0.03)
  t.equal(k.min().item(), -3)
  t.equal(k.max().item(), 3)
  const order = new Generator(3).permutation(1000)
  t.same(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i),
  )
})
