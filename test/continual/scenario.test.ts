import { test } from 'tap'
import {
  limited,
  permuted,
  rotated,
  rotateImages,
  scenarioOf,
  split,
} from '../../lib/continual/index.js'
import { clusters, width } from './tiny.js'

const data = clusters()

test('split: every example once, labels are the task’s outputs', (t) => {
  for (const setting of ['task', 'domain', 'class'] as const) {
    const { experiences, outputs } = split(data, { tasks: 3, setting, seed: 8 })
    t.equal(outputs, setting === 'domain' ? 2 : 6)
    const sizes = experiences.map(({ train }) => train().labels.length)
    t.equal(
      sizes.reduce((a, b) => a + b),
      data.train.labels.length,
    )
    for (const { columns, test } of experiences) {
      t.ok(test().labels.every((label) => label >= columns[0] && label < columns[1]))
    }
  }
  const ascending = split(data, { tasks: 3 })
  t.strictSame(
    ascending.experiences.map(({ name }) => name),
    ['0, 1', '2, 3', '4, 5'],
  )
  t.throws(() => split(data, { tasks: 4 }), /'tasks'/)
  t.throws(() => split(data, { tasks: 3, setting: 'other' as 'task' }), /'setting'/)
  t.end()
})

test('permuted: the same values in one other order a task', (t) => {
  const { experiences } = permuted(data, { tasks: 3, seed: 1 })
  t.strictSame(experiences[0]?.train().inputs, data.train.inputs)
  const a = experiences[1]?.train().inputs as Float32Array
  const b = experiences[1]?.test().inputs as Float32Array
  const order = Array.from(a.subarray(0, width), (v) => data.train.inputs.indexOf(v))
  t.strictSame(
    [...order].sort((x, y) => x - y),
    [...Array(width).keys()],
  )
  t.strictSame(
    Array.from(b.subarray(width, 2 * width)),
    order.map((i) => data.test.inputs[width + i]),
    'the same order for all examples, for training and for measuring',
  )
  t.notSame(experiences[2]?.train().inputs, a)
  const heads = permuted(data, { tasks: 3, setting: 'class' })
  t.equal(heads.outputs, 18)
  t.end()
})

test('rotated: a quarter turn moves pixels, a whole one brings them back', (t) => {
  const image = { inputs: Float32Array.of(1, 2, 3, 4), labels: Int32Array.of(0), shape: [4] }
  const close = (a: Float32Array, b: number[]) =>
    t.ok(
      a.every((v, i) => Math.abs(v - (b[i] as number)) < 1e-5),
      `${a}`,
    )
  close(rotateImages(image, 90).inputs, [2, 4, 1, 3])
  close(rotateImages(image, 360).inputs, [1, 2, 3, 4])
  const { experiences } = rotated(data, { tasks: 4 })
  t.strictSame(
    experiences.map(({ name }) => name),
    ['0°', '45°', '90°', '135°'],
  )
  t.throws(() => rotateImages({ ...image, shape: [2, 1, 2] }, 90), { name: 'ShapeError' })
  t.throws(() => rotated(data, { tasks: 2, angles: [1] }), /'angles'/)
  t.end()
})

test('limited, and streams of one’s own parts', (t) => {
  const few = limited(split(data, { tasks: 3 }), { train: 10, test: 5 })
  t.equal(few.experiences[1]?.train().labels.length, 10)
  t.equal(few.experiences[1]?.test().labels.length, 5)
  t.throws(() => scenarioOf('none', 'task', [], [4]), /'parts'/)
  t.end()
})
