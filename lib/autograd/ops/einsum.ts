/** Sums of products in Einstein's notation, through batched matrix products. */

import { wrong } from '../../engine/check.js'
import { ArgumentError, ShapeError } from '../../engine/errors.js'
import { isFloating } from '../../tensor/dtype.js'
import { type ArrayLike, toTensor } from '../../tensor/interop.js'
import { shownShape, sizeOf } from '../../tensor/shape.js'
import type { Tensor } from '../../tensor/tensor.js'
import { mul } from './elementwise.js'
import { matmul } from './products.js'
import { diagonal } from './rearrange.js'
import { sum } from './reductions.js'
import { expand, permute, reshape } from './views.js'

/** A tensor whose axes have names, all different. */
interface Term {
  x: Tensor
  labels: string[]
}

/** Names of the axes that '...' stands for, counted from the last. */
const dots = (count: number) => Array.from({ length: count }, (_, i) => `.${count - i}`)

function parse(spec: string, operands: readonly Tensor[]): { terms: Term[]; output: string[] } {
  const fail = (what: string): never => {
    throw new ArgumentError(`'spec' is '${spec}': ${what}`)
  }
  const [left, right, more] = spec.replaceAll(' ', '').split('->') as [string, string?, string?]
  if (more !== undefined) fail("there is more than one '->'")
  const inputs = left.split(',')
  if (inputs.length !== operands.length) {
    fail(`names ${inputs.length} operands, but ${operands.length} were given`)
  }
  let hidden = 0
  const letters = (text: string, count: (named: number) => number): string[] => {
    const parts = text.split('...')
    if (parts.length > 2 || !parts.every((part) => /^[A-Za-z]*$/.test(part))) {
      fail(`'${text}' is not made of letters and at most one '...'`)
    }
    const [before, after] = parts.map((part) => [...part]) as [string[], string[]?]
    if (!after) return before
    return [...before, ...dots(count(before.length + after.length)), ...after]
  }
  const terms = operands.map((x, i) => {
    const labels = letters(inputs[i] as string, (named) => {
      const count = Math.max(0, x.rank - named)
      hidden = Math.max(hidden, count)
      return count
    })
    if (labels.length !== x.rank) {
      fail(`'${inputs[i]}' does not fit operand ${i} of shape ${shownShape(x.shape)}`)
    }
    return distinct({ x, labels })
  })
  const all = terms.flatMap((term) => term.labels)
  if (right === undefined) {
    // Letters that occur once, in alphabetical order.
    const counts = inputs.join('').replaceAll('.', '')
    const once = [...new Set(counts)].filter((c) => counts.split(c).length === 2).sort()
    return { terms, output: [...dots(hidden), ...once] }
  }
  const output = letters(right, () => hidden)
  if (new Set(output).size !== output.length) fail(`'${right}' names an axis twice`)
  for (const label of output) {
    if (!all.includes(label)) fail(`'${label}' of the result stands in no operand`)
  }
  return { terms, output }
}

/** An axis that stands twice in one operand means its diagonal. */
function distinct({ x, labels }: Term): Term {
  const twice = labels.findIndex((label, i) => labels.indexOf(label) !== i)
  if (twice < 0) return { x, labels }
  const first = labels.indexOf(labels[twice] as string)
  if (x.shape[first] !== x.shape[twice]) {
    throw new ShapeError(
      `einsum: axes ${first} and ${twice} of shape ${shownShape(x.shape)} have one name and two extents`,
    )
  }
  const rest = labels.filter((_, i) => i !== first && i !== twice)
  return distinct({ x: diagonal(x, 0, first, twice), labels: [...rest, labels[twice] as string] })
}

/** The extent of every name; 1 stretches. */
function extentsOf(terms: readonly Term[]): Map<string, number> {
  const extents = new Map<string, number>()
  for (const { x, labels } of terms) {
    labels.forEach((label, i) => {
      const extent = x.shape[i] as number
      const known = extents.get(label) ?? 1
      if (known !== 1 && extent !== 1 && known !== extent) {
        const shapes = terms.map((term) => shownShape(term.x.shape)).join(', ')
        throw new ShapeError(
          `einsum: the axis '${label}' has extents ${known} and ${extent} in operands of shapes ${shapes}`,
        )
      }
      extents.set(label, known === 1 ? extent : known)
    })
  }
  return extents
}

/** Sums over the axes whose names nobody needs. */
function reduced({ x, labels }: Term, needed: (label: string) => boolean): Term {
  const axes = labels.map((_, i) => i).filter((i) => !needed(labels[i] as string))
  if (axes.length === 0) return { x, labels }
  return { x: sum(x, axes), labels: labels.filter(needed) }
}

/** The product of two terms, summed over the names that nobody needs. */
function contract(
  a: Term,
  b: Term,
  extents: ReadonlyMap<string, number>,
  needed: (label: string) => boolean,
): Term {
  const left = reduced(a, (label) => needed(label) || b.labels.includes(label))
  const right = reduced(b, (label) => needed(label) || a.labels.includes(label))
  const shared = left.labels.filter((label) => right.labels.includes(label))
  const batch = shared.filter(needed)
  const summed = shared.filter((label) => !needed(label))
  const rows = left.labels.filter((label) => !shared.includes(label))
  const columns = right.labels.filter((label) => !shared.includes(label))
  const labels = [...batch, ...rows, ...columns]
  const extent = (names: readonly string[]) => names.map((name) => extents.get(name) as number)
  const arranged = ({ x, labels: own }: Term, order: string[]) => {
    const turned = permute(
      x,
      order.map((label) => own.indexOf(label)),
    )
    return expand(turned, extent(order))
  }
  if (summed.length === 0 || !isFloating(left.x.dtype) || !isFloating(right.x.dtype)) {
    // Nothing to sum, or integers: multiply as they broadcast.
    const order = [...labels, ...summed]
    const wide = (term: Term) => {
      const own = order.filter((label) => term.labels.includes(label))
      const shape = order.map((label) => (own.includes(label) ? (extents.get(label) as number) : 1))
      return reshape(arranged(term, own), shape)
    }
    const product = mul(wide(left), wide(right))
    return reduced({ x: product, labels: order }, needed)
  }
  const [nb, nr, nc, ns] = [batch, rows, columns, summed].map((names) => sizeOf(extent(names))) as [
    number,
    number,
    number,
    number,
  ]
  const x = reshape(arranged(left, [...batch, ...rows, ...summed]), [nb, nr, ns])
  const y = reshape(arranged(right, [...batch, ...summed, ...columns]), [nb, ns, nc])
  const product = nb === 1 ? matmul(reshape(x, [nr, ns]), reshape(y, [ns, nc])) : matmul(x, y)
  return { x: reshape(product, extent(labels)), labels }
}

/**
 * The sum of products that a formula names: 'ij,jk->ik' is the matrix product, 'bii->b' traces of a
 * batch, '...ij->...ji' transposes. Without '->' the result has the letters that occur once, in
 * alphabetical order. Of several operands those two are multiplied first whose product is smallest.
 */
export function einsum(spec: string, ...operands: ArrayLike[]): Tensor {
  if (typeof spec !== 'string') wrong('spec', "a formula like 'ij,jk->ik'", spec)
  if (operands.length === 0) wrong('operands', 'at least one tensor', operands)
  const list = operands.map((x, i) => toTensor(x, `operands[${i}]`))
  const { terms, output } = parse(spec, list)
  const extents = extentsOf(terms)
  while (terms.length > 1) {
    let best = { size: Infinity, i: 0, j: 1 }
    for (let i = 0; i < terms.length; i++) {
      for (let j = i + 1; j < terms.length; j++) {
        const names = new Set([...(terms[i] as Term).labels, ...(terms[j] as Term).labels])
        const others = terms.filter((_, k) => k !== i && k !== j).flatMap((term) => term.labels)
        const kept = [...names].filter((name) => output.includes(name) || others.includes(name))
        const size = sizeOf(kept.map((name) => extents.get(name) as number))
        if (size < best.size) best = { size, i, j }
      }
    }
    const [b] = terms.splice(best.j, 1) as [Term]
    const [a] = terms.splice(best.i, 1) as [Term]
    const needed = (label: string) =>
      output.includes(label) || terms.some((term) => term.labels.includes(label))
    terms.push(contract(a, b, extents, needed))
  }
  const last = reduced(terms[0] as Term, (label) => output.includes(label))
  return permute(
    last.x,
    output.map((label) => last.labels.indexOf(label)),
  )
}
