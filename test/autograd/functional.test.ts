import { test } from 'tap'
import * as p from '../../lib/index.js'
import { ArgumentError, checkpoint, grad, type Tensor, tensor } from '../../lib/index.js'
import * as nn from '../../lib/nn/index.js'
import { waves } from '../fixtures.js'
import { values } from './values.js'

const fn = (x: Tensor, w: Tensor) => x.matmul(w).tanh().sum(0)

test('jacobian, vjp and jvp agree with each other and with differences', async (t) => {
  const [x, w] = [values([2, 3]), values([3, 4], -1, 1, 2)]
  const [jx, jw] = p.jacobian(fn, [x, w]) as [Tensor, Tensor]
  t.same(jx.shape, [4, 2, 3])
  t.same(jw.shape, [4, 3, 4])
  const v = values([4], -1, 1, 3)
  const { value, grads } = p.vjp(fn, [x, w], v)
  t.ok(value.allClose(fn(x, w)))
  t.ok(grads[0]?.allClose(p.einsum('k,kij->ij', v, jx)))
  t.ok(grads[1]?.allClose(p.einsum('k,kij->ij', v, jw)))
  const [dx, dw] = [values([2, 3], -1, 1, 4), values([3, 4], -1, 1, 5)]
  const { tangent } = p.jvp(fn, [x, w], [dx, dw])
  t.ok(tangent.allClose(p.einsum('kij,ij->k', jx, dx).add(p.einsum('kij,ij->k', jw, dw))))
  const h = 1e-6
  const above = fn(x.add(dx.mul(h)), w.add(dw.mul(h)))
  const below = fn(x.sub(dx.mul(h)), w.sub(dw.mul(h)))
  t.ok(tangent.allClose(above.sub(below).div(2 * h), { atol: 1e-8 }))
})

test('hessian and Hessian-vector products', async (t) => {
  const a = values([3, 3])
  const quadratic = (x: Tensor) => x.matmul(a).mul(x).sum()
  const x = values([3], -1, 1, 2)
  const h = p.hessian(quadratic, x)
  t.ok(h.allClose(a.add(a.T)))
  const v = values([3], -1, 1, 3)
  t.ok(p.hvp(quadratic, x, v).allClose(h.matmul(v)))
  t.same(p.hessian((y) => y.sum(), x).toArray(), p.zeros([3, 3]).toArray())
  t.throws(() => p.hessian((y) => y, x), p.ShapeError)
  t.throws(() => p.jvp(fn, [x], []), ArgumentError)
  t.throws(() => p.vjp((y) => y, [x], values([2])), p.ShapeError)
  t.throws(() => p.jacobian(3 as never, [x]), ArgumentError)
})

test('checkpoint: the same values, gradients and second gradients', async (t) => {
  const w = values([3, 3], -1, 1, 2).requireGrad()
  const between = w.square()
  const block = (x: Tensor) => x.matmul(between).tanh().matmul(w)
  const run = (wrap: (x: Tensor) => Tensor) => {
    const x = values([2, 3]).requireGrad()
    w.grad = null
    const y = wrap(x).square().sum()
    y.backward(undefined, { retainGraph: true })
    return [y, x.grad, w.grad].map((tensor) => (tensor as Tensor).toArray())
  }
  t.same(
    run((x) => checkpoint(block, x)),
    run(block),
  )
  t.same(
    run((x) => checkpoint((y) => checkpoint(block, y), x)),
    run(block),
    'one in another',
  )
  const twice = (wrap: (x: Tensor) => Tensor) => (x: Tensor, v: Tensor) =>
    grad(wrap(x.matmul(v)).square().sum(), [v], { createGraph: true })[0] as Tensor
  const inputs = [values([2, 3]), values([3, 3], -1, 1, 4)]
  p.gradcheck(
    twice((x) => checkpoint((y) => y.tanh().square(), x)),
    inputs,
    { atol: 1e-5 },
  )
  t.equal(checkpoint((x) => x.mul(2), values([2])).requiresGrad, false)
  t.throws(() => checkpoint((() => 3) as never, values([2])), ArgumentError)
})

test('checkpoint: dropout drops the same again, and only results are kept', async (t) => {
  const generator = new p.Generator(3)
  const net = new nn.Sequential(
    new nn.Linear(6, 50, { generator }),
    new nn.Dropout(0.5, { generator }),
    new nn.Linear(50, 6, { generator }),
  )
  const run = (wrap: (x: Tensor) => Tensor) => {
    generator.position = 1000
    net.zeroGrad()
    wrap(waves([4, 6], 1).to('float32'))
      .square()
      .sum()
      .backward()
    return [generator.position, ...net.parameters().map((x) => x.grad?.toArray())]
  }
  t.same(
    run((x) => p.checkpointWith([generator], (y) => net.forward(y), x)),
    run((x) => net.forward(x)),
  )
  // Nothing of the inside is alive after the forward pass: its memory waits to be used again.
  p.clearRecycled()
  const x = p.ones([100, 100], { requiresGrad: true })
  const deep = (y: Tensor) => {
    let z = y
    for (let i = 0; i < 20; i++) z = z.mul(1.01).tanh()
    return z
  }
  const y = checkpoint(deep, x)
  const free = p.recycledMemory().bytes
  t.ok(free >= 39 * 40000, `${free} bytes are free`)
  y.dispose()
})

test('an early backward() frees the graph; a retained one does not', async (t) => {
  const x = tensor([1, 2], { requiresGrad: true })
  const y = x.square()
  const loss = y.sum()
  loss.backward(undefined, { retainGraph: true })
  loss.backward()
  t.same(x.grad?.toArray(), [4, 8])
  t.same(loss.node?.inputs, [])
  t.same(y.node?.inputs, [])
  t.throws(() => loss.backward(), ArgumentError)
})

test('a gradient that several operands share is not given back too early', async (t) => {
  const x = tensor([1, 2], { dtype: 'float64', requiresGrad: true })
  // add hands one gradient to both sides; each is used later, in turn.
  const a = x.mul(3)
  const b = x.mul(5)
  const c = a.add(b)
  const d = c.add(a).add(b.square())
  d.add(c).sum().backward()
  t.same(x.grad?.toArray(), [3 * 3 + 2 * 5 + 50, 3 * 3 + 2 * 5 + 100])
  const kept: Tensor[] = []
  const y = x.mul(2)
  y.registerHook((g) => {
    kept.push(g.keep())
    return undefined
  })
  y.square().sum().backward()
  t.same(kept[0]?.toArray(), [4, 8])
})
