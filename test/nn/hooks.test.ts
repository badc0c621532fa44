import { test } from 'tap'
import { ArgumentError, DeviceError, scope, type Tensor, tensor } from '../../lib/index.js'
import { matmulAsync } from '../../lib/linalg/index.js'
import * as nn from '../../lib/nn/index.js'

const input = () => tensor([[1, 2, 3]], { requiresGrad: true })

test('forward hooks run with forward(), call() and inside other modules, in order', async (t) => {
  const layer = new nn.Linear(3, 2)
  const net = new nn.Sequential(layer, new nn.ReLU())
  const seen: string[] = []
  const remove = layer.registerForwardPreHook((module, x) => {
    t.equal(module, layer)
    seen.push('pre')
    return x.mul(0)
  })
  layer.registerForwardHook((_module, x, y) => {
    t.same(x.toArray(), [[0, 0, 0]])
    seen.push('post')
    return y.add(100)
  })
  for (const run of [
    () => layer.forward(input()),
    () => layer.call(input()),
    () => net.forward(input()),
  ]) {
    t.ok((run().toArray() as number[][])[0]?.every((v) => v > 90))
  }
  t.same(seen, ['pre', 'post', 'pre', 'post', 'pre', 'post'])
  remove()
  layer.forward(tensor([[0, 0, 0]]))
  t.same(seen.slice(6), ['post'])
  t.throws(() => layer.registerForwardHook(3 as never), ArgumentError)
})

test('a subclass that calls super.forward() runs its hooks once', async (t) => {
  class Doubled extends nn.Linear {
    override forward(x: Tensor): Tensor {
      return super.forward(x).mul(2)
    }
  }
  const layer = new Doubled(3, 2)
  let count = 0
  layer.registerForwardHook(() => {
    count++
    return undefined
  })
  layer.forward(input())
  t.equal(count, 1)
  t.same(Object.keys(layer.stateDict()), ['weight', 'bias'])
})

test('full backward hooks see and replace gradients', async (t) => {
  const layer = new nn.Linear(3, 2, { bias: false })
  const x = input()
  layer.registerFullBackwardPreHook((_module, g) => g.mul(10))
  const remove = layer.registerFullBackwardHook((module, gradInput, gradOutput) => {
    t.equal(module, layer)
    t.same(gradOutput.toArray(), [[10, 10]])
    return gradInput?.mul(2)
  })
  layer.forward(x).sum().backward()
  const columns = layer.weight.sum(0).mul(20).toArray() as number[]
  t.ok(x.grad?.allClose(tensor([columns])))
  t.same(layer.weight.grad?.toArray(), [
    [10, 20, 30],
    [10, 20, 30],
  ])
  remove()
  let input_: Tensor | null | undefined
  layer.registerFullBackwardHook((_module, gradInput) => {
    input_ = gradInput
    return undefined
  })
  layer.forward(x.detach()).sum().backward()
  t.equal(input_, null, 'the hook runs where the input needs no gradient')
})

test('to(dtype): parameters stay the same objects and shared ones stay shared', async (t) => {
  const first = new nn.Linear(3, 3)
  const second = new nn.Linear(3, 3)
  Object.assign(second, { weight: first.weight })
  const net = new nn.Sequential(first, second)
  const { weight } = first
  const values = weight.toArray()
  net.forward(input()).sum().backward()
  scope(() => net.to('float64'))
  t.equal(first.weight, weight)
  t.equal(second.weight, weight)
  t.equal(weight.dtype, 'float64')
  t.equal(weight.requiresGrad, true)
  t.equal(weight.grad, null)
  t.same(weight.toArray(), values)
  const y = net.forward(tensor([[1, 2, 3]], { dtype: 'float64' }))
  y.sum().backward()
  t.equal(weight.grad?.dtype, 'float64')
  t.equal(net.to('cpu'), net)
  t.throws(() => net.to('int32'), ArgumentError)
  t.throws(() => net.to('cuda:99'), DeviceError)
})

test('matmulAsync: the gradient, and scopes that end before the product is there', async (t) => {
  const [a, b] = [input(), tensor([[1], [2], [3]], { requiresGrad: true })]
  const pending = scope(() => [matmulAsync(a, b)])
  const y = await (pending[0] as Promise<Tensor>)
  t.equal(y.item(), 14)
  y.backward()
  t.same(a.grad?.toArray(), [[1, 2, 3]])
  t.same(b.grad?.toArray(), [[1], [2], [3]])
})
