import * as tf from '@tensorflow/tfjs'
import { test } from 'tap'
import { ArgumentError } from '../../lib/index.js'
import { NorMuon } from '../../lib/optim/index.js'
import { dion, MuonFamily, muon, norMuon } from '../../lib/tfjs/index.js'
import { relativeError, wave } from '../fixtures.js'

await tf.setBackend('cpu')

const transposed = (x: Float32Array, rows: number, cols: number) =>
  Float32Array.from(
    { length: rows * cols },
    (_, i) => x[(i % rows) * cols + Math.floor(i / rows)] as number,
  )

const inputs = tf.tensor2d(wave(60, 1), [10, 6])
const targets = tf.tensor2d(wave(20, 2), [10, 2])

function network(): tf.Sequential {
  const dense = (units: number, seed: number, first = false) =>
    tf.layers.dense({
      units,
      ...(first ? { inputShape: [6] } : {}),
      activation: units === 2 ? 'linear' : 'relu',
      kernelInitializer: tf.initializers.glorotNormal({ seed }),
    })
  return tf.sequential({ layers: [dense(8, 1, true), dense(8, 2), dense(2, 3)] })
}

test('applyGradients: the transposed parameters of palimpsest/optim', async (t) => {
  const kernel = tf.variable(tf.tensor2d(wave(48, 3), [6, 8]), true, 'here/kernel')
  const head = tf.variable(tf.tensor2d(wave(16, 4), [8, 2]), true, 'there/kernel')
  const own = { data: transposed(wave(48, 3), 6, 8), shape: [8, 6] }
  const other = { data: wave(16, 4), shape: [8, 2] }
  const optimizer = norMuon({ lr: 0.02, compute: 'float32', rest: { lr: 0.1 } })
  const same = new NorMuon(
    { hidden: { params: [own] }, rest: { params: [other], lr: 0.1, weightDecay: 0 } as never },
    { lr: 0.02, compute: 'float32' },
  )
  for (let s = 0; s < 5; s++) {
    const [g, h] = [wave(48, 10 + s), wave(16, 20 + s)]
    const gradients = {
      'here/kernel': tf.tensor2d(g, [6, 8]),
      'there/kernel': tf.tensor2d(h, [8, 2]),
    }
    optimizer.applyGradients(gradients)
    tf.dispose(gradients)
    same.step([
      { data: transposed(g, 6, 8), shape: [8, 6] },
      { data: h, shape: [8, 2] },
    ])
  }
  t.ok(relativeError(kernel.dataSync() as Float32Array, transposed(own.data, 8, 6)) < 1e-6)
  t.ok(relativeError(head.dataSync() as Float32Array, other.data) < 1e-6)
  const before = kernel.dataSync().slice()
  const bad = { 'here/kernel': tf.fill([6, 8], NaN) }
  optimizer.applyGradients(bad)
  t.same(kernel.dataSync(), before)
  t.equal(optimizer.skippedSteps, 1)
  t.throws(() => optimizer.applyGradients({ unknown: tf.scalar(1) }), ArgumentError)
  t.throws(() => norMuon().applyGradients({ unknown: tf.scalar(1) }), ArgumentError)
  optimizer.learningRate = 0.01
  t.equal(optimizer.learningRate, 0.01)
  tf.dispose([kernel, head])
})

test('compile and fit learn; a thousand steps leak no tensor', async (t) => {
  for (const make of [muon, norMuon, dion]) {
    const model = network()
    const optimizer = make({ lr: 0.05, rest: { lr: 0.02 } })
    model.compile({ optimizer, loss: 'meanSquaredError' })
    const history = await model.fit(inputs, targets, { epochs: 40, verbose: 0, shuffle: false })
    const losses = history.history['loss'] as number[]
    t.ok((losses.at(-1) as number) < 0.5 * (losses[0] as number), `${losses[0]} → ${losses.at(-1)}`)
    model.dispose()
  }
  const weight = tf.variable(tf.tensor2d(wave(12, 1), [3, 4]))
  const optimizer = norMuon({ toHidden: [weight.name] })
  const step = () => optimizer.minimize(() => weight.square().sum() as tf.Scalar)
  step()
  const { numTensors, numDataBuffers, numBytes } = tf.memory()
  for (let s = 0; s < 1000; s++) step()
  const after = tf.memory()
  t.same(
    [after.numTensors, after.numDataBuffers, after.numBytes],
    [numTensors, numDataBuffers, numBytes],
  )
  weight.dispose()
})

test('saved with the model, it goes on to the same bits', async (t) => {
  for (const make of [
    () => norMuon({ lr: 0.02, stateDtype: 'bfloat16' }),
    () => dion({ rankFraction: 0.5 }),
  ]) {
    const model = network()
    model.compile({ optimizer: make(), loss: 'meanSquaredError' })
    const options = { epochs: 3, verbose: 0, shuffle: false, batchSize: 10 } as const
    await model.fit(inputs, targets, options)
    let artifacts: tf.io.ModelArtifacts | null = null
    const keep = async (a: tf.io.ModelArtifacts) => {
      artifacts = a
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' as const } }
    }
    await model.save(tf.io.withSaveHandler(keep), { includeOptimizer: true })
    const loaded = await tf.loadLayersModel(
      tf.io.fromMemory(artifacts as unknown as tf.io.ModelArtifacts),
    )
    t.ok(loaded.optimizer instanceof MuonFamily)
    await model.fit(inputs, targets, options)
    await loaded.fit(inputs, targets, options)
    const values = (m: tf.LayersModel) => m.getWeights().map((w) => w.dataSync())
    t.same(values(loaded), values(model))
    t.equal(loaded.optimizer.iterations, model.optimizer.iterations)
    const weights = await loaded.optimizer.getWeights()
    await t.rejects(loaded.optimizer.setWeights(weights.slice(0, -1)), ArgumentError)
    tf.dispose(weights.map(({ tensor }) => tensor))
  }
})

test('wrong options are refused when the optimizer is made', async (t) => {
  t.throws(() => muon({ lr: -1 }), ArgumentError)
  t.throws(() => muon({ momentums: 1 } as never), ArgumentError)
})
