/** Accuracy matrices for the terminal. */

import { styleText } from 'node:util'

/** A share as four characters, coloured from red to green where the terminal can. */
function cell(value: number | null): string {
  if (value === null) return '   ·'
  const text = (100 * value).toFixed(0).padStart(4)
  const color = value >= 0.85 ? 'green' : value >= 0.6 ? 'yellow' : 'red'
  return styleText(color, text, { stream: process.stdout })
}

/** Rows: after learning a task; columns: accuracy on each task, in per cent. */
export function formatMatrix(
  name: string,
  matrix: readonly (readonly (number | null)[])[],
): string {
  const heads = matrix.map((_, j) => `${j + 1}`.padStart(4)).join('')
  const rows = matrix.map((row, i) => `  after ${`${i + 1}`.padStart(3)}${row.map(cell).join('')}`)
  return `${name}\n  on task  ${heads.slice(1)}\n${rows.join('\n')}\n`
}
