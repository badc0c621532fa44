import fc from 'fast-check'
import { test } from 'tap'
import {
  BytePairTokenizer,
  CharTokenizer,
  DataLoader,
  mobyDick,
  stateOfTheUnion,
  TokenWindows,
} from '../../lib/data/index.js'
import { ArgumentError } from '../../lib/index.js'

const opening = 'Call me Ishmael. Some years ago—never mind how long precisely'

test('the texts are whole', async (t) => {
  const chapters = mobyDick()
  const text = chapters.map((chapter) => chapter.text).join('\n')
  t.ok(text.length > 1.1e6, `${text.length} characters`)
  t.ok(text.includes(opening))
  const addresses = stateOfTheUnion()
  t.ok(addresses.length > 220)
  t.equal(addresses[0]?.year, 1790)
  t.ok(addresses.every(({ text }) => text.length > 1000))
})

test('characters: there and back, and what is unknown', async (t) => {
  const tokenizer = new CharTokenizer(opening)
  t.equal(tokenizer.vocabulary, new Set(opening).size)
  const tokens = tokenizer.encode(opening)
  t.equal(tokenizer.decode(tokens), opening)
  t.same(new CharTokenizer(tokenizer.characters).encode(opening), tokens)
  t.equal(new CharTokenizer('a🐋').encode('🐋a').length, 2)
  t.throws(() => tokenizer.encode('Z'), ArgumentError)
  t.throws(() => tokenizer.decode([99]), ArgumentError)
})

test('byte pairs: shorter, there and back for every text, the same from the same merges', async (t) => {
  const text = (mobyDick()[3]?.text ?? '') + (mobyDick()[4]?.text ?? '')
  const tokenizer = BytePairTokenizer.train(text, 512)
  t.equal(tokenizer.vocabulary, 512)
  const tokens = tokenizer.encode(text)
  t.ok(tokens.length < 0.6 * Buffer.byteLength(text), `${tokens.length} tokens`)
  t.equal(tokenizer.decode(tokens), text)
  const again = new BytePairTokenizer(tokenizer.merges)
  t.same(again.encode(text.slice(0, 500)), tokenizer.encode(text.slice(0, 500)))
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (any) => {
      // Lone surrogates are no text: UTF-8 replaces them.
      const text = any.toWellFormed()
      return tokenizer.decode(tokenizer.encode(text)) === text
    }),
    { numRuns: 200 },
  )
  t.throws(() => new BytePairTokenizer([[300, 1]]), ArgumentError)
})

test('byte pairs: the merges of a small text by hand', async (t) => {
  // 'ab' stands 4 times, then 'abab' twice.
  const { merges } = BytePairTokenizer.train('abab abab', 258)
  t.same(merges, [
    [97, 98],
    [256, 256],
  ])
  t.same(BytePairTokenizer.train('abc', 300).merges, [], 'nothing occurs twice')
})

test('windows of tokens, in a loader', async (t) => {
  const windows = new TokenWindows(
    Int32Array.from({ length: 11 }, (_, i) => i),
    3,
  )
  t.equal(windows.length, 3)
  const [batch] = new DataLoader(windows, { batchSize: 2 })
  t.same(batch?.inputs.toArray(), [
    [0, 1, 2],
    [3, 4, 5],
  ])
  t.same(batch?.targets.toArray(), [
    [1, 2, 3],
    [4, 5, 6],
  ])
  t.equal(new TokenWindows(new Int32Array(3), 3).length, 0)
  t.equal(new TokenWindows(new Int32Array(11), 3, 1).length, 8)
})
