/** Batch norm, embeddings, indexing, sorting and dropout on every device against the CPU's. */

import { test } from 'tap'
import * as p from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { acceleratorsUnderTest } from '../devices.js'
import { comparer, type Make } from './compare.js'

for (const { id, skip } of acceleratorsUnderTest()) {
  // The stand-in runs the CPU's own kernels: nothing would be compared.
  if (id.startsWith('test')) continue
  test(`layers on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(19)
    const random = (...shape: number[]) => p.randn(shape, { generator: g })
    const whole = (low: number, high: number, shape: number[]) =>
      p.randint(low, high, shape, { generator: g })
    const { same, exact, both } = comparer(id)

    t.test('batch norm: its own statistics, given ones, running ones', async (t) => {
      for (const shape of [
        [5, 3],
        [3, 4, 7, 11],
        [2, 33, 300],
      ]) {
        const layerOf = (x: p.Tensor | undefined) =>
          new nn.BatchNorm(shape[1] as number).to(x?.device as string)
        // The sum of squares of what is normalised alone does not depend on x.
        const beside = random(...shape)
        const own: Make = (x) =>
          layerOf(x)
            .call(x as p.Tensor)
            .add(beside.to(x?.device as string))
        both(t, `[${shape}]`, own, [
          random(...shape)
            .mul(2)
            .add(3),
        ])
        const later: Make = (x) => {
          const layer = layerOf(x)
          layer.call(x as p.Tensor)
          layer.eval()
          return layer.call((x as p.Tensor).mul(0.5))
        }
        both(t, `[${shape}], running statistics`, later, [random(...shape)])
      }
      const beside = random(9, 6, 5).to('float64')
      const double: Make = (x) =>
        new nn.BatchNorm(6)
          .to('float64')
          .to(x?.device as string)
          .call(x as p.Tensor)
          .add(beside.to(x?.device as string))
      both(t, 'float64', double, [random(9, 6, 5).to('float64')], 1e-12)
    })

    t.test('whole models: loss and gradients', async (t) => {
      const tokens = whole(0, 11, [2, 7])
      const model = () => new nn.GPT({ vocabulary: 11, context: 8, layers: 1, heads: 2, width: 16 })
      const start = model()
      const gradients: Make = (tokens) => {
        const net = model()
        net.loadStateDict(start.stateDict())
        net.to(tokens?.device as string)
        nn.crossEntropy(
          net.call(tokens as p.Tensor).reshape(-1, 11),
          (tokens as p.Tensor).reshape(-1),
        ).backward()
        return p.cat(
          net.parameters().map((w) => (w.grad as p.Tensor).reshape(-1)),
          0,
        )
      }
      same(t, 'GPT', gradients, [tokens], 1e-4)
      t.same(
        start.to(id).generate([1, 2], 3, { temperature: 0 }),
        start.to('cpu').generate([1, 2], 3, { temperature: 0 }),
        'GPT draws the same tokens',
      )
    })

    t.test('embeddings', async (t) => {
      const index = whole(0, 40, [7, 9])
      for (const width of [1, 33, 128]) {
        const look: Make = (table) =>
          nn.embedding(index.to(table?.device as string), table as p.Tensor)
        both(t, `width ${width}`, look, [random(40, width)])
      }
      const padded: Make = (table) =>
        nn.embedding(index.to(table?.device as string), table as p.Tensor, { paddingIndex: 3 })
      both(t, 'a padding index', padded, [random(40, 5)])
      t.throws(
        () => nn.embedding(p.tensor([40], { dtype: 'int32' }).to(id), random(40, 5).to(id)),
        p.ArgumentError,
      )
    })

    t.test('indexing', async (t) => {
      const x = random(13, 70, 5)
      const along = whole(0, 70, [13, 30, 5])
      const on = (y: p.Tensor | undefined, i: p.Tensor) => i.to(y?.device as string)
      both(t, 'gather', (x) => p.gather(x as p.Tensor, 1, on(x, along)), [x])
      both(
        t,
        'gather of a view',
        (x) => p.gather((x as p.Tensor).permute(1, 0, 2), 0, on(x, along.permute(1, 0, 2))),
        [x],
      )
      both(
        t,
        'scatterAdd with repeats',
        (x, s) => p.scatterAdd(x as p.Tensor, 1, on(x, along), s as p.Tensor),
        [x, random(13, 30, 5)],
      )
      const order = p.argsort(random(13, 70, 5), 1)
      exact(t, 'scatter', (x, s) => p.scatter(x as p.Tensor, 1, on(x, order), s as p.Tensor), [
        x,
        random(13, 70, 5),
      ])
      for (const mode of ['amax', 'amin', 'sum', 'mean'] as const) {
        same(
          t,
          `scatterReduce ${mode}`,
          (x, s) => p.scatterReduce(x as p.Tensor, 1, on(x, along), s as p.Tensor, mode),
          [x, random(13, 30, 5)],
        )
      }
      const rows = p.tensor([4, 0, 4, 12], { dtype: 'int32' })
      both(t, 'indexSelect', (x) => p.indexSelect(x as p.Tensor, on(x, rows)), [x])
      both(t, 'indexAdd', (x, s) => p.indexAdd(x as p.Tensor, 0, on(x, rows), s as p.Tensor), [
        x,
        random(4, 70, 5),
      ])
      exact(t, 'nonzero', (x) => p.nonzero((x as p.Tensor).gt(0.7)), [x])
      exact(t, 'nonzero of nothing', (x) => p.nonzero((x as p.Tensor).gt(99)), [x])
      exact(t, 'maskedSelect', (x) => p.maskedSelect(x as p.Tensor, (x as p.Tensor).lt(-0.3)), [x])
      exact(t, 'maskedFill', (x) => p.maskedFill(x as p.Tensor, (x as p.Tensor).lt(0), 7), [x])
      t.throws(
        () => p.gather(x.to(id), 1, p.full([13, 1, 5], 70, { dtype: 'int32' }).to(id)),
        p.ArgumentError,
        'an index outside',
      )
    })

    t.test('sorting', async (t) => {
      for (const n of [1, 33, 1500]) {
        const x = random(3, n)
        exact(t, `sort ${n}`, (x) => p.sort(x as p.Tensor, 1).values, [x])
        exact(t, `argsort ${n}, ties to the first`, (x) => p.argsort(x as p.Tensor, 1), [x.round()])
      }
    })

    t.test('dropout drops the same entries', async (t) => {
      const dropped: Make = (x) => {
        const layer = new nn.Dropout(0.3, { generator: new p.Generator(3) })
        return layer.call(x as p.Tensor)
      }
      both(t, 'dropout', dropped, [random(41, 60)])
      exact(t, 'to the bit', dropped, [random(999)])
    })
  })
}
