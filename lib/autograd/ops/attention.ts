/** Scaled dot-product attention: tiles and an online softmax, forward and backward. */

import { begin, number, view } from '../../engine/call.js'
import { checkInteger, checkNumber, checkOptions, wrong } from '../../engine/check.js'
import { DTypeError, ShapeError } from '../../engine/errors.js'
import { native } from '../../engine/native.js'
import { type ArrayLike, checkWideFloat, toTensor } from '../../tensor/interop.js'
import { broadcastStrides, shownShape, sizeOf } from '../../tensor/shape.js'
import { Tensor } from '../../tensor/tensor.js'
import { isRecording, record, tracked } from '../tape.js'
import { mul, sub, where } from './elementwise.js'
import { contiguous, dense } from './memory.js'
import { matmul } from './products.js'
import { sum } from './reductions.js'
import { softmax } from './softmax.js'
import { expand, permute, reshape, select, stack, transpose } from './views.js'

/** Options of attention. */
export interface AttentionOptions {
  /** Query i sees keys 0 … i only; false by default. */
  causal?: boolean
  /** Bool or uint8, broadcast to [batch, heads, queries, keys]: true where a query sees a key. */
  mask?: ArrayLike | null | undefined
  /** What scores are multiplied by; 1/√width by default. */
  scale?: number | undefined
}

interface Settings {
  causal: boolean
  mask: Tensor | null
  scale: number
}

/** q, k, v as [batch, heads, time, width] views for the kernels. */
type Heads = readonly [q: Tensor, k: Tensor, v: Tensor]

function settle(q: Tensor, k: Tensor, options: AttentionOptions): Settings {
  const { causal = false, scale = 1 / Math.sqrt(Math.max(q.shape[3] as number, 1)) } =
    checkOptions(options)
  checkNumber(scale, 'scale', -Number.MAX_VALUE, Number.MAX_VALUE)
  if (typeof causal !== 'boolean') wrong('causal', 'a boolean', causal)
  if (!options.mask) return { causal, scale, mask: null }
  const mask = toTensor(options.mask, 'mask')
  if (mask.dtype !== 'bool' && mask.dtype !== 'uint8') {
    throw new DTypeError(`'mask' has dtype ${mask.dtype}, expected bool or uint8`)
  }
  const [b, h, n] = q.shape as [number, number, number]
  const seen = [b, h, n, k.shape[2] as number]
  const fits =
    mask.rank <= 4 && mask.shape.every((m, i) => m === 1 || m === seen[4 - mask.rank + i])
  if (!fits) {
    throw new ShapeError(
      `'mask' has shape ${shownShape(mask.shape)}, which does not broadcast to ${shownShape(seen)}`,
    )
  }
  return { causal, scale, mask: expand(mask, seen) }
}

function writeHeads([q, k, v]: Heads, { causal, mask, scale }: Settings, out: Tensor, lse: Tensor) {
  begin()
  for (const x of [q, k, v]) view(x)
  if (mask) view(mask)
  view(out)
  view(lse)
  number(causal)
  number(scale)
}

/** Fills `out`; gives what the backward pass needs. */
function forward(heads: Heads, settings: Settings, out: Tensor): Tensor {
  const [q, k, v] = heads
  const lse = Tensor.empty([sizeOf(q.shape.slice(0, 3))], q.dtype, q.device)
  writeHeads(heads, settings, out, lse)
  native.attention(
    q.buffer,
    k.buffer,
    v.buffer,
    settings.mask?.buffer ?? null,
    out.buffer,
    lse.buffer,
  )
  return lse
}

function backward(
  heads: Heads,
  settings: Settings,
  out: Tensor,
  lse: Tensor,
  dout: Tensor,
  slopes: Heads,
) {
  writeHeads(heads, settings, out, lse)
  view(dout)
  for (const slope of slopes) view(slope)
  const [q, k, v] = heads
  const [dq, dk, dv] = slopes
  native.attentionBackward(
    q.buffer,
    k.buffer,
    v.buffer,
    settings.mask?.buffer ?? null,
    out.buffer,
    lse.buffer,
    dout.buffer,
    dq.buffer,
    dk.buffer,
    dv.buffer,
  )
}

function viewOf(x: Tensor, shape: number[], strides: number[], offset = x.offset): Tensor {
  x.storage.references++
  return new Tensor(x.storage, x.dtype, shape, strides, offset)
}

/** Unit stride along the width, or a copy. */
const unit = (x: Tensor) => (x.strides[3] === 1 || x.shape[3] === 1 ? x : dense(x))

function checkHeads(q: Tensor, k: Tensor, v: Tensor): void {
  const named = { queries: q, keys: k, values: v }
  for (const [name, x] of Object.entries(named)) {
    if (x.rank !== 4) {
      throw new ShapeError(
        `'${name}' has shape ${shownShape(x.shape)}, expected [batch, heads, time, width]`,
      )
    }
    checkWideFloat(x, name)
    if (x.dtype !== q.dtype) {
      throw new DTypeError(
        `'${name}' has dtype ${x.dtype}, the queries ${q.dtype}: they must agree`,
      )
    }
  }
  const fits =
    [0, 1].every((i) => k.shape[i] === q.shape[i] && v.shape[i] === q.shape[i]) &&
    k.shape[3] === q.shape[3] &&
    v.shape[2] === k.shape[2] &&
    (k.shape[2] as number) > 0
  if (!fits) {
    throw new ShapeError(
      `shapes ${shownShape(q.shape)}, ${shownShape(k.shape)} and ${shownShape(v.shape)} of 'queries', 'keys' and 'values' do not fit`,
    )
  }
}

/**
 * softmax(scale·q·kᵀ)·v (Vaswani et al. 2017), without ever holding the matrix of scores: tiles with
 * an online softmax, recomputed in the backward pass (Dao et al. 2022). A query that sees no key gets
 * zeros.
 *
 * @param q [batch, heads, queries, width]; views of any strides are taken without a copy as long as
 *   the width's is 1
 * @param k [batch, heads, keys, width]
 * @param v [batch, heads, keys, valueWidth]
 * @returns [batch, heads, queries, valueWidth]
 */
export function scaledDotProductAttention(
  queries: ArrayLike,
  keys: ArrayLike,
  values: ArrayLike,
  options: AttentionOptions = {},
): Tensor {
  const [q, k, v] = [
    toTensor(queries, 'queries'),
    toTensor(keys, 'keys'),
    toTensor(values, 'values'),
  ]
  checkHeads(q, k, v)
  const settings = settle(q, k, options)
  const heads: Heads = [unit(q), unit(k), unit(v)]
  const out = Tensor.empty([...q.shape.slice(0, 3), v.shape[3] as number], q.dtype, q.device)
  const lse = forward(heads, settings, out)
  if (!tracked(q, k, v)) return out
  return record(
    out,
    [q, k, v],
    (g) => {
      if (isRecording()) return attentionSlopes([q, k, v], settings, g)
      const slopes = heads.map((x) => Tensor.empty(x.shape, x.dtype, x.device)) as unknown as Heads
      backward(heads, settings, out, lse, unit(g), slopes)
      return [...slopes]
    },
    null,
    [lse],
  )
}

/**
 * The same for queries, keys and values of one projection, packed side by side as
 * [batch, time, 3·heads·width]; neither they nor the output are copied.
 *
 * @returns [batch, time, heads·width]
 */
export function packedAttention(
  projections: ArrayLike,
  headCount: number,
  options: AttentionOptions = {},
): Tensor {
  const packed = toTensor(projections, 'projections')
  checkInteger(headCount, 'headCount', 1)
  checkWideFloat(packed, 'projections')
  const total = packed.shape[2] as number
  const width = total / (3 * headCount)
  if (packed.rank !== 3 || !Number.isInteger(width) || packed.size === 0) {
    throw new ShapeError(
      `'projections' has shape ${shownShape(packed.shape)}, expected [batch, time, 3·${headCount}·width], not empty`,
    )
  }
  const [b, n] = packed.shape as [number, number]
  const apart = (x: Tensor): Heads => {
    const shape = [b, headCount, n, width]
    const strides = [n * total, width, total, 1]
    const part = (i: number) => viewOf(x, shape, strides, x.offset + i * headCount * width)
    return [part(0), part(1), part(2)]
  }
  const input = dense(packed)
  const heads = apart(input)
  checkHeads(...heads)
  const settings = settle(heads[0], heads[1], options)
  const merged = Tensor.empty([b, n, headCount * width], packed.dtype, packed.device)
  const strides = [n * headCount * width, width, headCount * width, 1]
  const out = viewOf(merged, [b, headCount, n, width], strides)
  const lse = forward(heads, settings, out)
  const saved = [...heads, out, lse, ...(input === packed ? [] : [input])]
  if (!tracked(packed)) {
    for (const tensor of saved) tensor.dispose()
    return merged
  }
  return record(
    merged,
    [packed],
    (g) => {
      const split = (x: Tensor) => permute(reshape(x, [b, n, headCount, width]), [0, 2, 1, 3])
      if (isRecording()) {
        const parts = permute(reshape(packed, [b, n, 3, headCount, width]), [2, 0, 3, 1, 4])
        const three = [0, 1, 2].map((i) => select(parts, 0, i)) as unknown as Heads
        const slopes = attentionSlopes(three, settings, split(g)) as Tensor[]
        return [reshape(permute(stack(slopes, 0), [1, 3, 0, 2, 4]), packed.shape)]
      }
      const slope = Tensor.empty(packed.shape, packed.dtype, packed.device)
      backward(heads, settings, out, lse, unit(split(contiguous(g))), apart(slope))
      return [slope]
    },
    null,
    saved,
  )
}

/** The gradients in differentiable operations, for gradients of gradients. */
function attentionSlopes(heads: Heads, settings: Settings, g: Tensor): Tensor[] {
  const [q, k, v] = heads
  const { scale } = settings
  const hidden = hiddenScores(q, k, settings)
  const scores = mul(matmul(q, transpose(k)), scale)
  // Rows that see nothing have no softmax: theirs is set to zero afterwards.
  const raw = softmax(hidden ? where(hidden, -1e30, scores) : scores)
  const p = hidden ? where(hidden, 0, raw) : raw
  const dp = matmul(g, transpose(v))
  const ds = mul(mul(p, sub(dp, sum(mul(dp, p), -1, true))), scale)
  return [matmul(ds, k), matmul(transpose(ds), q), matmul(transpose(p), g)]
}

/** True where a score does not count; null where all do. */
function hiddenScores(q: Tensor, k: Tensor, { causal, mask }: Settings): Tensor | null {
  if (!causal && !mask) return null
  const [b, h, n] = q.shape as [number, number, number]
  const m = k.shape[2] as number
  const hidden = new Uint8Array(b * h * n * m)
  const strides = mask ? broadcastStrides(mask.shape, mask.strides, [b, h, n, m]) : [0, 0, 0, 0]
  const [sb, sh, sn, sm] = strides as [number, number, number, number]
  let at = 0
  for (let i = 0; i < b * h; i++) {
    const start = (mask?.offset ?? 0) + Math.floor(i / h) * sb + (i % h) * sh
    for (let r = 0; r < n; r++) {
      for (let c = 0; c < m; c++) {
        const masked = mask ? mask.array[start + r * sn + c * sm] === 0 : false
        hidden[at++] = masked || (causal && c > r) ? 1 : 0
      }
    }
  }
  return Tensor.from({ data: hidden, shape: [b, h, n, m], dtype: 'bool' } as ArrayLike)
}
