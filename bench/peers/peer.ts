/** What a peer is: another library that runs the same rows. */

/** Times in ms, why a row was not run, or null where the peer has nothing like it. */
export type Answer = { ms: number[] } | { skipped: string | null }

/** Something that runs a row by name. */
export interface Peer {
  name: string
  run(row: string, rounds: number): Promise<Answer>
  close(): void
}
