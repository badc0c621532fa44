/** Text as numbers: characters, or byte pairs learned from a text (Gage 1994; Sennrich et al. 2016). */

import { checkInteger, checkIntegers, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'

/** Between text and tokens. */
export interface Tokenizer {
  /** The number of different tokens. */
  readonly vocabulary: number
  encode(text: string): Int32Array
  decode(tokens: ArrayLike<number>): string
}

const checkText = (text: unknown): string =>
  typeof text === 'string' ? text : wrong('text', 'a string', text)

const checkTokens = (tokens: ArrayLike<number>): ArrayLike<number> =>
  typeof tokens === 'object' && tokens !== null
    ? tokens
    : wrong('tokens', 'a list of tokens', tokens)

/** One token a character (Unicode code point) of the text that it was made from, in their order. */
export class CharTokenizer implements Tokenizer {
  readonly characters: readonly string[]
  readonly #numbers: ReadonlyMap<string, number>

  /** @param text or the characters themselves: those that occur are the vocabulary */
  constructor(text: string | readonly string[]) {
    const all = Array.isArray(text) ? text.map(checkText).join('') : checkText(text)
    this.characters = [...new Set(all)].sort((a, b) => (a < b ? -1 : 1))
    this.#numbers = new Map(this.characters.map((c, i) => [c, i]))
  }

  get vocabulary(): number {
    return this.characters.length
  }

  /** @throws ArgumentError where a character is not in the vocabulary */
  encode(text: string): Int32Array {
    return Int32Array.from([...checkText(text)], (c) => {
      const number = this.#numbers.get(c)
      if (number === undefined) {
        throw new ArgumentError(
          `'text' has the character ${JSON.stringify(c)}, which is not in the vocabulary`,
        )
      }
      return number
    })
  }

  decode(tokens: ArrayLike<number>): string {
    return Array.from(checkTokens(tokens), (t) => {
      checkInteger(t, 'tokens', 0, this.vocabulary - 1)
      return this.characters[t] as string
    }).join('')
  }
}

/** Words with the blank before them, runs of digits, of signs, of blanks: no pair crosses their borders. */
const pieces = / ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu

/**
 * Byte pairs: the vocabulary is the 256 bytes of UTF-8 and the pairs that were merged, so that every
 * text can be encoded and comes back as it was.
 */
export class BytePairTokenizer implements Tokenizer {
  /** Pairs in the order in which they were merged; pair i became token 256 + i. */
  readonly merges: readonly (readonly [number, number])[]
  readonly #ranks = new Map<number, number>()
  readonly #bytes: Uint8Array[]
  readonly #known = new Map<string, Int32Array>()

  constructor(merges: readonly (readonly [number, number])[]) {
    if (!Array.isArray(merges)) wrong('merges', 'a list of pairs', merges)
    this.#bytes = Array.from({ length: 256 }, (_, i) => Uint8Array.of(i))
    merges.forEach((pair, i) => {
      const [a, b] = checkIntegers(pair, `merges[${i}]`, 2) as [number, number]
      for (const token of [a, b]) checkInteger(token, `merges[${i}]`, 0, 255 + i)
      this.#ranks.set(key(a, b), i)
      this.#bytes.push(
        Uint8Array.of(...(this.#bytes[a] as Uint8Array), ...(this.#bytes[b] as Uint8Array)),
      )
    })
    this.merges = merges
  }

  /**
   * Learns merges from a text: the most frequent pair each time, the lower numbers first among equals.
   *
   * @param vocabulary at most this many tokens, 256 bytes among them
   */
  static train(text: string, vocabulary: number): BytePairTokenizer {
    checkInteger(vocabulary, 'vocabulary', 256)
    const counts = new Map<string, number>()
    for (const [piece] of checkText(text).matchAll(pieces)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1)
    }
    const encoder = new TextEncoder()
    const words = [...counts].map(([piece, count]) => ({
      tokens: [...encoder.encode(piece)],
      count,
    }))
    const pairs = new Map<number, number>()
    const holders = new Map<number, Set<number>>()
    const note = (w: number, sign: 1 | -1) => {
      const { tokens, count } = words[w] as { tokens: number[]; count: number }
      for (let i = 0; i + 1 < tokens.length; i++) {
        const k = key(tokens[i] as number, tokens[i + 1] as number)
        pairs.set(k, (pairs.get(k) ?? 0) + sign * count)
        if (sign > 0) {
          const set = holders.get(k)
          if (set) set.add(w)
          else holders.set(k, new Set([w]))
        }
      }
    }
    words.forEach((_, w) => {
      note(w, 1)
    })
    const merges: [number, number][] = []
    while (256 + merges.length < vocabulary) {
      let best = -1
      let most = 1
      for (const [k, count] of pairs) {
        if (count > most || (count === most && best >= 0 && k < best)) [best, most] = [k, count]
      }
      if (best < 0) break
      const pair: [number, number] = [Math.floor(best / base), best % base]
      for (const w of holders.get(best) ?? []) {
        note(w, -1)
        const word = words[w] as { tokens: number[] }
        word.tokens = merged(word.tokens, pair, 256 + merges.length)
        note(w, 1)
      }
      pairs.delete(best)
      holders.delete(best)
      merges.push(pair)
    }
    return new BytePairTokenizer(merges)
  }

  get vocabulary(): number {
    return 256 + this.merges.length
  }

  #encodePiece(piece: string): Int32Array {
    const known = this.#known.get(piece)
    if (known) return known
    let tokens = [...new TextEncoder().encode(piece)]
    for (;;) {
      let first = Infinity
      for (let i = 0; i + 1 < tokens.length; i++) {
        const rank = this.#ranks.get(key(tokens[i] as number, tokens[i + 1] as number))
        if (rank !== undefined && rank < first) first = rank
      }
      if (first === Infinity) break
      tokens = merged(tokens, this.merges[first] as [number, number], 256 + first)
    }
    const result = Int32Array.from(tokens)
    if (this.#known.size < 100_000) this.#known.set(piece, result)
    return result
  }

  encode(text: string): Int32Array {
    const parts = [...checkText(text).matchAll(pieces)].map(([piece]) => this.#encodePiece(piece))
    const result = new Int32Array(parts.reduce((n, part) => n + part.length, 0))
    let at = 0
    for (const part of parts) {
      result.set(part, at)
      at += part.length
    }
    return result
  }

  /** Bytes that are no UTF-8 become U+FFFD. */
  decode(tokens: ArrayLike<number>): string {
    const parts = Array.from(checkTokens(tokens), (t) => {
      checkInteger(t, 'tokens', 0, this.vocabulary - 1)
      return this.#bytes[t] as Uint8Array
    })
    return new TextDecoder().decode(Buffer.concat(parts))
  }
}

const base = 2 ** 24
const key = (a: number, b: number) => a * base + b

function merged(
  tokens: readonly number[],
  [a, b]: readonly [number, number],
  to: number,
): number[] {
  const result: number[] = []
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] === a && tokens[i + 1] === b) {
      result.push(to)
      i++
    } else {
      result.push(tokens[i] as number)
    }
  }
  return result
}
