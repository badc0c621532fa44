/** Tables for the terminal. */

/** Pads columns to their widest cell; all but the first `left` columns are aligned to the right. */
export function formatTable(
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  left = 2,
): string {
  const all = [columns, ...rows]
  const widths = columns.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) =>
        i < left ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number),
      )
      .join('  ')
      .trimEnd()
  return [
    line(columns),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...rows.map(line),
  ].join('\n')
}
