/** Peers written in JavaScript, run in this process. */

import type { Peer } from './peer.js'

/** One round of a row. */
export type Round = () => void | Promise<void>

/** What a library can run: a pattern of row names, and how to make a row's round. */
export type Recipe = [pattern: RegExp, make: (match: RegExpExecArray) => Round | Promise<Round>]

/** A peer from its recipes; where loading fails, one that says why it is not there. */
export async function scriptPeer(name: string, load: () => Promise<Recipe[]>): Promise<Peer> {
  let recipes: Recipe[]
  try {
    recipes = await load()
  } catch (error) {
    const skipped = (error as Error).message.split('\n')[0] as string
    return { name, run: async () => ({ skipped }), close: () => {} }
  }
  let current = ''
  let round: Round = () => {}
  return {
    name,
    close: () => {},
    run: async (row, rounds) => {
      if (current !== row) {
        const fitting = recipes.flatMap(([pattern, make]) => {
          const match = pattern.exec(row)
          return match ? [() => make(match)] : []
        })
        if (!fitting[0]) return { skipped: null }
        round = await fitting[0]()
        current = row
        await round()
      }
      const ms: number[] = []
      for (let i = 0; i < rounds; i++) {
        const begin = performance.now()
        await round()
        ms.push(performance.now() - begin)
      }
      return { ms }
    },
  }
}

export const matmulRow = /^matmul f32 (\d+)x(\d+)x(\d+)$/
export const trainRow = /^train sgd ([\d-]+) (\d+)$/

/** The numbers of a row's name. */
export const numbers = (text: string | undefined, separator: string) =>
  (text ?? '').split(separator).map(Number)
