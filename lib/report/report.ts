/** Self-contained HTML reports: text, tables, and curves drawn as SVG by Observable Plot. */

import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { writeAtomically } from '../io/atomic.js'

/** One curve's points. */
export interface Curve {
  name: string
  points: readonly { x: number; y: number }[]
}

/** A part of a report. */
export type Section =
  | { kind: 'text'; title: string; text: string }
  | {
      kind: 'table'
      title: string
      columns: readonly string[]
      rows: readonly (readonly string[])[]
    }
  | {
      kind: 'curves'
      title: string
      xLabel: string
      yLabel: string
      curves: readonly Curve[]
      percent?: boolean
    }
  | {
      kind: 'bars'
      title: string
      yLabel: string
      bars: readonly { name: string; value: number }[]
      /** A line to compare with. */
      reference?: number
    }
  | {
      kind: 'heatmap'
      title: string
      rows: readonly string[]
      columns: readonly string[]
      /** Shares in [0, 1], row by row; null leaves a cell empty. */
      values: readonly (readonly (number | null)[])[]
    }

const escaped = (text: string) =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')

/** A document for Plot to draw into. */
const drawing = () =>
  parseHTML('<html><body></body></html>').document as unknown as NonNullable<
    Plot.PlotOptions['document']
  >

/** Bars as an SVG element's text. */
export function drawBars(section: Extract<Section, { kind: 'bars' }>): string {
  const figure = Plot.plot({
    document: drawing(),
    width: 640,
    height: 320,
    marginLeft: 56,
    marginBottom: 72,
    x: { label: null, tickRotate: -30, domain: section.bars.map(({ name }) => name) },
    y: { label: section.yLabel, grid: true },
    marks: [
      Plot.barY(section.bars, { x: 'name', y: 'value', fill: '#4269d0' }),
      ...(section.reference === undefined
        ? []
        : [Plot.ruleY([section.reference], { stroke: '#e15759', strokeWidth: 1.5 })]),
      Plot.ruleY([0]),
    ],
  })
  return figure.outerHTML
}

/** A matrix of shares as an SVG element's text: colour and percentage in every cell. */
export function drawHeatmap(section: Extract<Section, { kind: 'heatmap' }>): string {
  const cells = section.values.flatMap((row, i) =>
    row.flatMap((value, j) =>
      value === null ? [] : [{ row: section.rows[i], column: section.columns[j], value }],
    ),
  )
  const figure = Plot.plot({
    document: drawing(),
    width: 200 + 52 * section.columns.length,
    height: 60 + 34 * section.rows.length,
    marginLeft: 150,
    x: { label: null, axis: 'top', domain: section.columns, tickSize: 0 },
    y: { label: null, domain: section.rows, tickSize: 0 },
    color: { scheme: 'Blues', domain: [0, 1] },
    marks: [
      Plot.cell(cells, { x: 'column', y: 'row', fill: 'value', inset: 1 }),
      Plot.text(cells, {
        x: 'column',
        y: 'row',
        text: ({ value }) => (100 * value).toFixed(0),
        fill: ({ value }) => (value > 0.6 ? 'white' : 'black'),
      }),
    ],
  })
  return figure.outerHTML
}

/** Curves as an SVG element's text. */
export function drawCurves(section: Extract<Section, { kind: 'curves' }>): string {
  const rows = section.curves.flatMap(({ name, points }) =>
    points.map(({ x, y }) => ({ x, y, name })),
  )
  const figure = Plot.plot({
    document: drawing(),
    width: 640,
    height: 360,
    marginLeft: 56,
    x: { label: section.xLabel, grid: true },
    y: { label: section.yLabel, grid: true, ...(section.percent ? { percent: true } : {}) },
    color: { domain: section.curves.map(({ name }) => name), scheme: 'Observable10' },
    marks: [
      Plot.lineY(rows, { x: 'x', y: 'y', z: 'name', stroke: 'name', strokeWidth: 2 }),
      Plot.text(
        rows,
        Plot.selectLast({
          x: 'x',
          y: 'y',
          z: 'name',
          text: 'name',
          fill: 'name',
          dx: 6,
          textAnchor: 'start',
        }),
      ),
    ],
    marginRight: 72,
  })
  return figure.outerHTML
}

function render(section: Section): string {
  const title = `<h2>${escaped(section.title)}</h2>`
  if (section.kind === 'text') return `${title}<p>${escaped(section.text)}</p>`
  if (section.kind === 'curves') return `${title}<figure>${drawCurves(section)}</figure>`
  if (section.kind === 'bars') return `${title}<figure>${drawBars(section)}</figure>`
  if (section.kind === 'heatmap') return `${title}<figure>${drawHeatmap(section)}</figure>`
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
  return `${title}<table><thead>${row(section.columns, 'th')}</thead><tbody>${section.rows.map((cells) => row(cells, 'td')).join('')}</tbody></table>`
}

const style = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left } figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }`

/** A whole page, with nothing loaded from elsewhere. */
export function renderReport(title: string, sections: readonly Section[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title><style>${style}</style></head>
<body><h1>${escaped(title)}</h1>
${sections.map(render).join('\n')}
</body></html>
`
}

/** Writes a report to a file, whole or not at all. */
export function writeReport(path: string, title: string, sections: readonly Section[]): void {
  const text = new TextEncoder().encode(renderReport(title, sections))
  writeAtomically(path, (append) => append(text))
}
