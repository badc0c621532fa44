/** Every device's kernels against the CPU's, at sizes that cross the edges of tiles, warps and blocks. */

import { test } from 'tap'
import { begin, number, view } from '../../lib/engine/call.js'
import { native } from '../../lib/engine/native.js'
import * as p from '../../lib/index.js'
import { matmul, orthogonalize } from '../../lib/linalg/index.js'
import * as nn from '../../lib/nn/index.js'
import * as optim from '../../lib/optim/index.js'
import { acceleratorsUnderTest } from '../devices.js'
import { comparer, type Make } from './compare.js'

for (const { id, skip } of acceleratorsUnderTest()) {
  // The stand-in runs the CPU's own kernels: nothing would be compared.
  if (id.startsWith('test')) continue
  test(`kernels on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = new p.Generator(11)
    const random = (...shape: number[]) => p.randn(shape, { generator: g })

    const { same, exact, both } = comparer(id)

    t.test('matrix products: precisions, transposes, views, batches', async (t) => {
      for (const [m, k, n] of [
        [130, 70, 150],
        [5, 3, 2],
        [1, 300, 1],
        // Few tiles and a long sum: the depth is cut into parts.
        [20, 1500, 24],
      ] as [number, number, number][]) {
        const a = random(m, k)
        const b = random(k, n)
        const at = random(k, m)
        const bt = random(n, k)
        for (const [kind, x, y] of [
          ['ab', a, b],
          ['aᵀb', at, b],
          ['abᵀ', a, bt],
          ['aᵀbᵀ', at, bt],
        ] as [string, p.Tensor, p.Tensor][]) {
          const product =
            (compute: 'float32' | 'bfloat16'): Make =>
            (u, v) =>
              matmul(
                x === at ? (u as p.Tensor).T : (u as p.Tensor),
                y === bt ? (v as p.Tensor).T : (v as p.Tensor),
                { compute },
              )
          const name = `${kind} ${m}×${k}×${n}`
          // One number alone may cancel.
          same(t, `f32 ${name}`, product('float32'), [x, y], m * n === 1 ? 1e-5 : 2e-6)
          same(t, `bf16 ${name}`, product('bfloat16'), [x, y], 1e-5)
          const bf16 = [x.to('bfloat16'), y.to('bfloat16')]
          same(t, `bf16 held ${name}`, product('bfloat16'), bf16, 4e-3)
          same(t, `f64 ${name}`, product('float32'), [x.to('float64'), y.to('float64')], 1e-13)
        }
      }
      same(t, 'batch', (x, y) => matmul(x as p.Tensor, y as p.Tensor), [
        random(3, 20, 17),
        random(3, 17, 9),
      ])
      const odd: Make = (x) =>
        matmul((x as p.Tensor).slice(1, 1, 30, 2).T, (x as p.Tensor).slice(1, 3, 36), {
          compute: 'bfloat16',
        })
      same(t, 'views', odd, [random(15, 40)])
    })

    t.test('Newton–Schulz: direct and Gram, square, wide, tall, batched', async (t) => {
      for (const shape of [
        [130, 130],
        [24, 140],
        [140, 24],
        [3, 24, 40],
      ]) {
        for (const method of ['direct', 'gram'] as const) {
          for (const compute of ['float32', 'bfloat16'] as const) {
            const f: Make = (x) => orthogonalize(x as p.Tensor, { method, compute })
            same(
              t,
              `${method} ${compute} ${shape}`,
              f,
              [random(...shape)],
              compute === 'float32' ? 1e-3 : 0.03,
            )
          }
        }
      }
      const zero: Make = (x) => orthogonalize(x as p.Tensor)
      exact(t, 'zero', zero, [p.zeros([20, 20])])
      const deep: Make = (x) =>
        orthogonalize(x as p.Tensor, { method: 'gram', compute: 'bfloat16' })
      same(t, 'a Gram matrix of a long sum', deep, [random(24, 1100)], 0.03)
      t.throws(() => orthogonalize(p.full([4, 4], Number.NaN).to(id)), p.NumericalError)
    })

    t.test('counts of magnitudes', async (t) => {
      const x = random(70001)
      x.array.set([Number.NaN, Infinity, -Infinity, 0, -0], 69000)
      const count = (x: p.Tensor, upper: number) => {
        const counts = p.zeros([upper < 0 ? 1 << 15 : 1 << 16], { dtype: 'float64' }).to(x.device)
        for (let i = 0; i < 2; i++) {
          begin()
          view(x)
          view(counts)
          number(upper)
          native.magnitudeCounts(x.buffer, counts.buffer)
        }
        return counts
      }
      for (const upper of [-1, 0x3f80, 0x3f00]) {
        const [got, expected] = [count(x.to(id), upper), count(x, upper)]
        t.equal(got.sub(expected.to(id)).abs().sum().item(), 0, `upper ${upper}`)
        t.ok(expected.sum().item() > (upper < 0 ? 140001 : 200))
      }
    })

    t.test('elementwise, reductions and scans over views of every dtype', async (t) => {
      const x = random(6, 37, 65)
      same(
        t,
        'functions',
        (x) =>
          (x as p.Tensor)
            .tanh()
            .add((x as p.Tensor).gelu())
            .mul((x as p.Tensor).exp()),
        [x],
      )
      same(t, 'a permuted view', (x) => (x as p.Tensor).permute(2, 0, 1).mul(3).sub(1), [x])
      same(t, 'broadcast', (x, y) => (x as p.Tensor).mul(y as p.Tensor), [x, random(37, 1)])
      for (const axes of [undefined, [0], [1], [2], [0, 1], [1, 2], [0, 2]]) {
        same(t, `sum over ${axes}`, (x) => (x as p.Tensor).sum(axes), [x])
        exact(t, `max over ${axes}`, (x) => (x as p.Tensor).max(axes), [x])
      }
      same(t, 'a long sum', (x) => (x as p.Tensor).sum(), [random(70001)])
      same(t, 'many columns', (x) => (x as p.Tensor).sum(0), [random(1500, 40)])
      exact(t, 'argmax', (x) => (x as p.Tensor).argmax(1), [x])
      exact(t, 'argmin of all', (x) => (x as p.Tensor).argmin(), [x])
      for (const axis of [0, 1, 2])
        same(t, `cumsum ${axis}`, (x) => (x as p.Tensor).cumsum(axis), [x])
      same(t, 'a long cumsum', (x) => (x as p.Tensor).cumsum(0), [random(1000)])
      const whole = p.randint(-50, 50, [9, 40], { generator: g })
      exact(
        t,
        'integers',
        (x) =>
          (x as p.Tensor)
            .mul(x as p.Tensor)
            .sub(7)
            .mod(5),
        [whole],
      )
      exact(t, 'integer sums', (x) => (x as p.Tensor).sum(0), [whole])
      exact(t, 'comparison', (x) => (x as p.Tensor).gt(3), [whole])
      const half = x.to('bfloat16')
      exact(t, 'bfloat16', (x) => (x as p.Tensor).add(1).to('float32'), [half])
      exact(t, 'any', (x) => (x as p.Tensor).any(1), [x.gt(2)])
    })

    t.test('the same random numbers as on the CPU', async (t) => {
      for (const [kind, a, b] of [
        ['uniform', -1, 3],
        ['normal', 0.5, 2],
        ['integers', -3, 17],
      ] as const) {
        for (const dtype of ['float32', 'float64'] as const) {
          const draw = (device: string) => {
            const own = new p.Generator(5)
            own.next() // an odd position
            return own.fill(p.Tensor.empty([4099], dtype, device), kind, a, b)
          }
          if (kind === 'normal' && dtype === 'float64') {
            const error = draw(id).to('cpu').sub(draw('cpu')).abs().max().item()
            t.ok(error < 1e-13, `normal float64: ${error}`)
          } else {
            t.same(draw(id).toArray(), draw('cpu').toArray(), `${kind} ${dtype}`)
          }
        }
      }
    })

    t.test('networks: values and gradients', async (t) => {
      both(t, 'softmax', (x) => (x as p.Tensor).softmax(), [random(7, 300)])
      both(t, 'log softmax', (x) => (x as p.Tensor).logSoftmax(), [random(7, 30)])
      const labels = p.tensor([0, 3, 9, 2, 9], { dtype: 'int32' })
      const loss: Make = (x, y) =>
        nn.crossEntropy(x as p.Tensor, y as p.Tensor, { labelSmoothing: 0.1, ignoreIndex: 2 })
      both(t, 'cross-entropy', loss, [random(5, 10), labels])
      t.throws(
        () => nn.crossEntropy(random(2, 3).to(id), p.tensor([0, 3], { dtype: 'int32' }).to(id)),
        p.ArgumentError,
      )
      const conv =
        (options: object): Make =>
        (x, w, o) =>
          nn.conv2d(x as p.Tensor, w as p.Tensor, o as p.Tensor, options)
      both(t, 'convolution', conv({ padding: 1 }), [
        random(2, 3, 9, 8),
        random(4, 3, 3, 3),
        random(4),
      ])
      both(t, 'strided grouped convolution', conv({ stride: 2, groups: 2, dilation: 2 }), [
        random(2, 4, 11, 9),
        random(6, 2, 3, 2),
        random(6),
      ])
      both(t, 'max pooling', (x) => nn.maxPool2d(x as p.Tensor, 3, { stride: 2, padding: 1 }), [
        random(2, 3, 9, 8),
      ])
      both(t, 'mean pooling', (x) => nn.avgPool2d(x as p.Tensor, 3, { stride: 2, padding: 1 }), [
        random(2, 3, 9, 8),
      ])
      const norm: Make = (x, w, o) => nn.layerNorm(x as p.Tensor, w as p.Tensor, o as p.Tensor)
      both(t, 'layer norm', norm, [random(33, 70), random(70), random(70)])
      both(t, 'RMS norm', (x, w) => nn.rmsNorm(x as p.Tensor, w as p.Tensor), [
        random(33, 70),
        random(70),
      ])
      const attend =
        (causal: boolean): Make =>
        (q, k, v) =>
          nn.scaledDotProductAttention(q as p.Tensor, k as p.Tensor, v as p.Tensor, {
            causal,
          })
      for (const causal of [false, true]) {
        both(t, `attention${causal ? ', causal' : ''}`, attend(causal), [
          random(2, 3, 45, 16),
          random(2, 3, 45, 16),
          random(2, 3, 45, 24),
        ])
      }
    })

    t.test('optimizers: the same steps, and state that can be saved and resumed', async (t) => {
      const shapes = [[33, 20], [20], [9000], [20, 33], [33, 20]]
      const starts = shapes.map((s) => random(...s))
      const grads = [0, 1, 2].map(() => shapes.map((s) => random(...s)))
      const kinds: [string, (ps: p.Tensor[]) => { step(grads?: p.Tensor[]): void }, number][] = [
        [
          'SGD',
          (ps) => new optim.SGD(ps, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
          1e-6,
        ],
        ['AdamW', (ps) => new optim.AdamW(ps, { lr: 0.01, amsgrad: true }), 1e-6],
        ['AdamW bf16', (ps) => new optim.AdamW(ps, { lr: 0.01, stateDtype: 'bfloat16' }), 1e-4],
        ['Lion', (ps) => new optim.Lion(ps, { lr: 0.01 }), 1e-6],
        ['Muon', (ps) => new optim.Muon(ps, { lr: 0.1, compute: 'float32' }), 1e-4],
        ['NorMuon', (ps) => new optim.NorMuon(ps, { lr: 0.1, compute: 'float32' }), 1e-4],
      ]
      for (const [name, make, tolerance] of kinds) {
        const only = (list: p.Tensor[]) =>
          list.filter((x) => !name.includes('Muon') || x.rank === 2)
        const run = (device: string) => {
          const ps = only(starts).map((x) => x.clone().to(device))
          const optimizer = make(ps)
          for (const g of grads) optimizer.step(only(g).map((x) => x.to(device)))
          return p.cat(
            ps.map((x) => x.to('cpu').reshape(-1)),
            0,
          )
        }
        const expected = run('cpu')
        const error = run(id).sub(expected).norm().item() / expected.norm().item()
        t.ok(error <= tolerance, `${name}: ${error}`)
      }
      const x = random(30).to(id)
      const first = new optim.AdamW([x], { lr: 0.1 })
      const gs = [random(30).to(id), random(30).to(id)] as const
      first.step([gs[0]])
      const saved = first.stateDict()
      const y = x.clone()
      first.step([gs[1]])
      const second = new optim.AdamW([y], { lr: 0.1, nonFinite: 'throw' })
      second.loadStateDict(saved)
      second.step([gs[1]])
      t.same(y.toArray(), x.toArray())
      t.throws(() => second.step([p.full([30], Number.NaN).to(id)]), p.NumericalError)
      t.same(y.toArray(), x.toArray())
      await first.stepAsync({ grads: [gs[0]] })
      second.step([gs[0]])
      t.same(y.toArray(), x.toArray())
    })
  })
}
