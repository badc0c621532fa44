/** Files that are there whole or not at all. */

import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ArgumentError, DisposedError } from '../engine/errors.js'

/** What a call of the file system gives; where it fails, the ArgumentError of the path that was given. */
export function reached<T>(path: string, name: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    const { message } = error as Error
    throw new ArgumentError(`'${name}' ${path} cannot be opened: ${message}`, { cause: error })
  }
}

let counter = 0

/** A file being written beside the one that it will replace. */
export class AtomicFile {
  readonly #path: string
  readonly #temporary: string
  #file: number | null

  constructor(path: string) {
    this.#path = path
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${++counter}.tmp`)
    this.#file = reached(path, 'path', () => openSync(this.#temporary, 'wx'))
  }

  /** Writes bytes at a position. */
  write(bytes: Uint8Array, position: number): void {
    if (this.#file === null) throw new DisposedError(`${this.#path}: writing has ended`)
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, 1 << 30)
      at += writeSync(this.#file, bytes, at, count, position + at)
    }
  }

  /** Flushes to the disk and renames: readers see the old file or the new one, whatever happens between. */
  commit(): void {
    if (this.#file === null) throw new DisposedError(`${this.#path}: writing has ended`)
    try {
      fsyncSync(this.#file)
      closeSync(this.#file)
      this.#file = null
      renameSync(this.#temporary, this.#path)
    } catch (error) {
      this.abort()
      throw error
    }
    // The rename itself must reach the disk; a file system that cannot flush a folder is left alone.
    try {
      const folder = openSync(dirname(this.#path), 'r')
      try {
        fsyncSync(folder)
      } finally {
        closeSync(folder)
      }
    } catch {}
  }

  /** Gives up; the old file is as it was. Does nothing after commit(). */
  abort(): void {
    if (this.#file !== null) closeSync(this.#file)
    this.#file = null
    // After a commit the name is gone, and an error that came before is the one to tell.
    rmSync(this.#temporary, { force: true })
  }
}

/**
 * Writes a whole file.
 *
 * @param write gets a function that appends bytes; when it throws, `path` is as before.
 */
export function writeAtomically(
  path: string,
  write: (append: (bytes: Uint8Array) => void) => void,
): void {
  const file = new AtomicFile(path)
  try {
    let at = 0
    write((bytes) => {
      file.write(bytes, at)
      at += bytes.length
    })
    file.commit()
  } catch (error) {
    file.abort()
    throw error
  }
}
