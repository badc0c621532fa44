/** What a study shows: tables for people, sections for the HTML report. */

import { checkStrings, requireOptions, wrong } from '../engine/check.js'
import type { Section } from '../report/report.js'
import type { Estimate } from './metrics.js'
import type { MethodResult } from './study.js'

/** Columns of the table of methods. */
export const columns = [
  'method',
  'average accuracy',
  'incremental',
  'forgetting',
  'backward',
  'forward',
  'train s',
  'kept',
] as const

/** A share as a percentage with its interval. */
export function percent(value: Estimate | null): string {
  if (value === null) return '–'
  const { mean, interval } = value
  const text = (100 * mean).toFixed(1)
  return interval === null ? `${text} %` : `${text} ± ${(100 * interval).toFixed(1)} %`
}

/** Bytes in the unit that fits. */
export function bytes(count: number): string {
  if (count === 0) return '0'
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`
}

/** One row a method, in the order of `columns`. */
export const rowsOf = (results: readonly MethodResult[]): string[][] =>
  results.map(({ method, metrics, trainSeconds, strategyBytes }) => [
    method,
    percent(metrics.averageAccuracy),
    percent(metrics.averageIncrementalAccuracy),
    percent(metrics.forgetting),
    percent(metrics.backwardTransfer),
    percent(metrics.forwardTransfer),
    trainSeconds.mean.toFixed(1),
    bytes(strategyBytes),
  ])

/** After each experience, the mean accuracy on those seen so far. */
const seenSoFar = ({ matrix }: MethodResult) =>
  matrix.map((row, i) => ({
    x: i + 1,
    y: row.slice(0, i + 1).reduce((sum: number, value) => sum + (value ?? 0), 0) / (i + 1),
  }))

/** After each experience, the accuracy on the first. */
const onFirst = ({ matrix }: MethodResult) => matrix.map((row, i) => ({ x: i + 1, y: row[0] ?? 0 }))

/**
 * The parts of a report: table, curves, one heat map a method, configuration.
 *
 * @param names of the experiences
 * @param configuration what was run, for the last table
 */
export function sectionsOf(
  title: string,
  results: readonly MethodResult[],
  names: readonly string[],
  configuration: Readonly<Record<string, unknown>>,
): Section[] {
  if (typeof title !== 'string') wrong('title', 'a string', title)
  if (!Array.isArray(results) || results.some((result) => !result?.metrics)) {
    wrong('results', 'results of study()', results)
  }
  checkStrings(names, 'names')
  requireOptions(configuration, 'configuration')
  const curve = (of: (result: MethodResult) => { x: number; y: number }[]) =>
    results.map((result) => ({ name: result.method, points: of(result) }))
  const axes = { xLabel: 'tasks learned', yLabel: 'accuracy (%)', percent: true }
  const settings = [
    ...Object.entries(configuration),
    ...results.flatMap(({ method, options }) =>
      Object.entries(options).map(([name, o]) => [`${method}: ${name}`, o] as const),
    ),
  ]
  const shown = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  return [
    { kind: 'table', title: `${title}: results`, columns, rows: rowsOf(results) },
    {
      kind: 'curves',
      title: `${title}: mean accuracy on the tasks seen so far`,
      ...axes,
      curves: curve(seenSoFar),
    },
    {
      kind: 'curves',
      title: `${title}: accuracy on the first task`,
      ...axes,
      curves: curve(onFirst),
    },
    ...results.map(
      ({ method, matrix }): Section => ({
        kind: 'heatmap',
        title: `${title}: ${method}, accuracy on each task (columns) after learning each (rows)`,
        rows: names.map((name, i) => `${i + 1}: ${name}`),
        columns: names.map((_, i) => `${i + 1}`),
        values: matrix,
      }),
    ),
    {
      kind: 'table',
      title: `${title}: configuration`,
      columns: ['setting', 'value'],
      rows: settings.map(([key, value]) => [key, shown(value) ?? '']),
    },
  ]
}
