/**
 * Wrong input of every kind to every public function gives the typed error that names the argument,
 * and leaves the others as they were. What a function takes stands in the tables beside this file.
 */

import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { jax, tfjs } from './bridges.js'
import { continual } from './continual.js'
import { findings, type Table } from './derive.js'
import { dataTable, io, merge } from './files.js'
import { linalg } from './linalg.js'
import { adapt, masks, subspace } from './masks.js'
import { networks } from './networks.js'
import { optim } from './optim.js'
import { root } from './root.js'

const packageJson = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, { default: string } | string>
}

/** One table a sub-path. */
const tables: Record<string, Table> = {
  '.': root,
  './linalg': linalg,
  './optim': optim,
  './nn': networks,
  './masks': masks,
  './adapt': adapt,
  './subspace': subspace,
  './continual': continual,
  './merge': merge,
  './data': dataTable,
  './io': io,
  './tfjs': tfjs,
  './jax': jax,
}

/** Exports that take nothing that can be wrong. */
const exempt: Record<string, readonly string[]> = {
  // Made by lora() and pissa().
  './subspace': ['Adapters'],
  // Made by Trainer, by strategies, or without arguments; names and constructors by name.
  './continual': ['Context', 'Teacher', 'Naive', 'Joint', 'scenarios', 'settings', 'strategies'],
  // No arguments.
  './merge': ['average'],
  './data': ['corruptions', 'mobyDick', 'stateOfTheUnion'],
  // The base class, which cannot be made by itself, and the namespace of the schedules.
  // Layers without arguments, the base class (rows Module.…), and the namespace of initial values (init.…).
  './nn': ['Flatten', 'ReLU', 'SiLU', 'Sigmoid', 'Tanh', 'Module', 'init'],
  './optim': ['Optimizer', 'schedules'],
  '.': [
    // Error classes.
    'AbortError',
    'ArgumentError',
    'DTypeError',
    'DeviceError',
    'DisposedError',
    'FormatError',
    'NumericalError',
    'PalimpsestError',
    'ShapeError',
    // No arguments.
    'clearRecycled',
    'defaultGenerator',
    'devices',
    'threads',
    // Made by other functions; its methods and Tensor.from have rows of their own.
    'Tensor',
  ],
}

test('every sub-path has a table', async (t) => {
  const paths = Object.keys(packageJson.exports).filter((path) => path !== './package.json')
  t.same(Object.keys(tables).sort(), paths.sort())
})

for (const [path, table] of Object.entries(tables)) {
  test(`${path}: every export has a row`, async (t) => {
    const target = packageJson.exports[path] as { default: string }
    const module = (await import(
      new URL(`../../../${target.default}`, import.meta.url).href
    )) as object
    const known = new Set([...Object.keys(table), ...(exempt[path] ?? [])])
    t.same(
      Object.keys(module).filter((name) => !known.has(name)),
      [],
    )
  })
  test(`${path}: wrong input`, async (t) => {
    let calls = 0
    const all: string[] = []
    for (const [name, row] of Object.entries(table)) {
      const [count, found] = await findings(name, row)
      calls += count
      all.push(...found)
    }
    t.comment(`${Object.keys(table).length} functions, ${calls} wrong calls`)
    t.same(all, [])
  })
}
