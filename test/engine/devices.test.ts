import { type Test, test } from 'tap'
import * as p from '../../lib/index.js'
import { matmul, matmulAsync, orthogonalize, orthogonalizeAsync } from '../../lib/linalg/index.js'
import * as nn from '../../lib/nn/index.js'
import { binaryInto } from '../../lib/tensor/elementwise.js'
import { acceleratorsUnderTest } from '../devices.js'

test('devices() says why one cannot be used, and using it says the same', async (t) => {
  acceleratorsUnderTest()
  const listed = p.devices()
  t.equal(listed[0]?.id, 'cpu')
  for (const { id, reason } of listed.filter((d) => d.reason)) {
    t.throws(() => p.zeros([2]).to(id), { name: 'DeviceError', message: reason as string })
  }
  t.throws(() => p.zeros([2]).to('cuda:99'), p.DeviceError)
  t.throws(() => p.zeros([2]).to('nowhere' as string), p.ArgumentError)
})

for (const { id, skip } of acceleratorsUnderTest()) {
  test(`on ${id}`, { skip: skip ?? false }, async (t) => {
    const g = p.manualSeed(7)
    const pair = (shape: number[]) => {
      const x = p.randn(shape, { generator: g })
      return [x, x.to(id)] as const
    }
    const close = (t: Test, got: p.Tensor, expected: p.Tensor, tolerance = 1e-5) => {
      t.equal(got.device, id)
      t.same(got.shape, expected.shape)
      const error = got.to('cpu').to('float64').sub(expected.to('float64')).abs().max().item()
      t.ok(error <= tolerance, `within ${tolerance}: ${error}`)
    }

    t.test('there and back, of every dtype and of views', async (t) => {
      for (const dtype of ['float32', 'float64', 'bfloat16', 'int32', 'uint8', 'bool'] as const) {
        const x = p.tensor(
          [
            [1, 0, 1],
            [1, 1, 0],
          ],
          { dtype },
        )
        const y = x.to(id)
        t.equal(y.device, id)
        t.equal(y.dtype, dtype)
        t.same(y.toArray(), x.toArray())
        t.same(y.T.to('cpu').toArray(), x.T.toArray())
        t.same([...(await y.T.read())], [...x.T.clone().data])
      }
      const x = p.tensor([1, 2, 3]).to(id)
      t.equal(x.sum().item(), 6)
      t.equal(x.to('cpu').device, 'cpu')
      t.equal(x.to(id), x)
      t.throws(() => x.data, p.DeviceError)
      t.throws(() => x.toNdarray(), p.DeviceError)
      t.same(p.zeros([0, 3]).to(id).toArray(), [])
    })

    t.test('read() gives what the tensor held when it was called', async (t) => {
      const x = p.ones([1000]).to(id)
      const early = x.read()
      x.fill_(2)
      const late = x.read()
      x.dispose()
      t.equal((await early)[999], 1)
      t.equal((await late)[999], 2)
    })

    t.test('mixed devices are refused and nothing is written', async (t) => {
      const [x, y] = pair([3, 3])
      t.throws(() => x.add(y), p.DeviceError)
      t.throws(() => y.add(x), p.DeviceError)
      t.throws(() => matmul(x, y), p.DeviceError)
      const out = p.ones([3, 3])
      t.throws(() => binaryInto('add', y, y, out), p.DeviceError)
      t.same(out.toArray(), p.ones([3, 3]).toArray())
      t.rejects(matmulAsync(x, y), p.DeviceError)
    })

    t.test('operations agree with the CPU', async (t) => {
      const [a, da] = pair([5, 7])
      const [b, db] = pair([7, 3])
      close(t, da.add(1).exp(), a.add(1).exp())
      close(t, p.where(da.gt(0), da, -1), p.where(a.gt(0), a, -1))
      close(t, da.sum(1), a.sum(1))
      close(t, da.cumsum(1), a.cumsum(1))
      close(t, da.softmax(), a.softmax())
      close(t, da.matmul(db), a.matmul(b))
      close(t, await matmulAsync(da, db), a.matmul(b))
      close(t, p.cat([da, da], 1), p.cat([a, a], 1))
      const options = { compute: 'float32' } as const
      close(t, orthogonalize(da, options), orthogonalize(a, options))
      close(t, await orthogonalizeAsync(da, options), orthogonalize(a, options))
      const [x, dx] = pair([2, 3, 8, 8])
      const [w, dw] = pair([4, 3, 3, 3])
      close(t, nn.conv2d(dx, dw, null, { padding: 1 }), nn.conv2d(x, w, null, { padding: 1 }))
      close(t, nn.maxPool2d(dx, 2), nn.maxPool2d(x, 2))
    })

    t.test('gradients agree with the CPU, and cross devices', async (t) => {
      const gradients = (device: string) => {
        const g = p.manualSeed(3)
        const x = p.randn([6, 5], { generator: g })
        const w = p.randn([4, 5], { generator: g, requiresGrad: true })
        const y = p.tensor([0, 1, 2, 3, 0, 1], { dtype: 'int32' }).to(device)
        nn.crossEntropy(p.linear(x.to(device), w.to(device), null, 'tanh'), y).backward()
        return w.grad as p.Tensor
      }
      close(t, gradients(id).to(id), gradients('cpu'))
    })

    t.test(
      'memory: counted, reused, limited, and an operation without any changes nothing',
      async (t) => {
        const before = p.deviceMemory(id)
        const x = p.zeros([1000]).to(id)
        t.equal(p.deviceMemory(id).inUse - before.inUse, 4096)
        x.dispose()
        t.equal(p.deviceMemory(id).inUse, before.inUse)
        const { reused } = p.deviceMemory(id)
        p.zeros([1000]).to(id).dispose()
        t.equal(p.deviceMemory(id).reused, reused + 1)
        p.scope(() => p.zeros([1000]).to(id).add(1))?.dispose()
        t.equal(p.deviceMemory(id).inUse, before.inUse)

        p.emptyCache(id)
        const y = p.ones([1 << 16]).to(id)
        const { inUse } = p.deviceMemory(id)
        p.deviceMemory(id, inUse + 1000)
        t.throws(() => y.add(1), { name: 'DeviceError', message: /no memory/ })
        t.equal(y.sum().item(), 1 << 16)
        p.deviceMemory(id, Infinity)
        t.equal(y.add(1).sum().item(), 2 << 16)
        y.dispose()
      },
    )

    t.test('waiting for the device', async (t) => {
      const x = p.ones([10]).to(id)
      x.dispose()
      t.throws(() => x.add(1), p.DisposedError)
      p.ones([10]).to(id).add(1)
      p.synchronize(id)
      t.pass()
    })
  })
}
