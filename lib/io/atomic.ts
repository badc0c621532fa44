/** Files that are there whole or not at all. */

import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

let counter = 0

/**
 * Writes a file under a temporary name beside `path`, flushes it to the disk and renames it: readers
 * see the old file or the new one, whatever happens between.
 *
 * @param write gets a function that appends bytes; when it throws, `path` is as before.
 */
export function writeAtomically(
  path: string,
  write: (append: (bytes: Uint8Array) => void) => void,
): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${++counter}.tmp`)
  const file = openSync(temporary, 'wx')
  try {
    try {
      write((bytes) => {
        for (let at = 0; at < bytes.length; ) {
          at += writeSync(file, bytes, at, Math.min(bytes.length - at, 1 << 30))
        }
      })
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch (error) {
    try {
      unlinkSync(temporary)
    } catch {
      // It was never made, or is gone: the first error is the one to tell.
    }
    throw error
  }
  // The rename itself must reach the disk; a file system that cannot flush a folder is left alone.
  try {
    const folder = openSync(dirname(path), 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch {}
}
