/** The approximate polar factor of a matrix by Newton–Schulz. */

import { type AsyncOptions, runAsync } from '../engine/async.js'
import { begin, number, view } from '../engine/call.js'
import { checkChoice, checkNumber, checkOptions } from '../engine/check.js'
import { ShapeError } from '../engine/errors.js'
import { native } from '../engine/native.js'
import { type ArrayLike, checkFloating, toTensor } from '../tensor/interop.js'
import { shownShape } from '../tensor/shape.js'
import { Tensor } from '../tensor/tensor.js'
import { type Coefficients, type Schedule, scheduleOf } from './coefficients.js'

const computes = ['float32', 'bfloat16'] as const
const methods = ['auto', 'direct', 'gram'] as const
const normalizations = ['frobenius', 'gelfand', 'aol'] as const

/** What a matrix is divided by before Newton–Schulz; see `OrthogonalizeOptions.normalization`. */
export type Normalization = (typeof normalizations)[number]

/** Options of orthogonalize. */
export interface OrthogonalizeOptions {
  /** Newton–Schulz steps; 5 by default, ignored where `coefficients` is a list. */
  steps?: number
  /** The schedule; 'muon' by default. */
  coefficients?: Coefficients
  /**
   * 'direct' iterates X, 'gram' the Gram matrix of the short side (far cheaper for wide and tall
   * matrices); 'auto' (default) takes the cheaper one.
   */
  method?: (typeof methods)[number]
  /** Precision of the products; 'bfloat16' by default, as Muon was made for. Sums are float32. */
  compute?: (typeof computes)[number]
  /**
   * How singular values are brought below 1 before the first step:
   * - 'frobenius' (default): X / ‖X‖_F, as in Muon;
   * - 'gelfand': X / ‖(XXᵀ)²‖_F^¼, which bounds the largest singular value far more closely (Gelfand's
   *   formula, as in arXiv 2506.10935) for one product of the short side more. Leaves a random matrix's
   *   singular values some nine times larger than 'frobenius' at 768 × 768, which is worth two to three steps of any schedule;
   * - 'aol': rows (of a tall matrix columns) divided by √Σⱼ|XXᵀ|ᵢⱼ, the almost-orthogonal preconditioning
   *   of Turbo-Muon (arXiv 2512.04632; Prach & Lampert, arXiv 2208.03160). Worth one to two steps, but the
   *   polar factor is that of the scaled matrix.
   *
   * A schedule with `lower` close to what the normalization leaves (`polarExpressSchedule`) makes use
   * of it. Without any step the norm is Frobenius's whichever is chosen.
   */
  normalization?: Normalization
  /** Added to the norm of x scaled to a largest entry of 1; 1e-7 by default. */
  eps?: number
  /** Lets NaN and Inf through (the result is NaN) instead of throwing; false by default. */
  allowNonFinite?: boolean
}

/** Writes a schedule to the argument block. */
export function writeSteps({ steps }: Schedule): void {
  number(steps.length)
  for (const step of steps) for (const value of step) number(value)
}

/** The number that the engine knows a precision by. */
export const computeCode = (compute: unknown): number =>
  computes.indexOf(checkChoice(compute, 'compute', computes))

/** The number that the engine knows a normalization by. */
export const normalizationCode = (normalization: unknown): number =>
  normalizations.indexOf(checkChoice(normalization, 'normalization', normalizations))

function prepare(value: ArrayLike, options: OrthogonalizeOptions) {
  const x = checkFloating(toTensor(value, 'x'), 'x')
  if (x.rank < 2)
    throw new ShapeError(`'x' has shape ${shownShape(x.shape)}, expected at least two axes`)
  const {
    steps = 5,
    coefficients = 'muon',
    method = 'auto',
    compute = 'bfloat16',
    eps = 1e-7,
    normalization = 'frobenius',
    allowNonFinite = false,
  } = checkOptions(options)
  const schedule = scheduleOf(coefficients, steps)
  const computeNumber = computeCode(compute)
  const normalizationNumber = normalizationCode(normalization)
  const methodNumber = methods.indexOf(checkChoice(method, 'method', methods))
  checkNumber(eps, 'eps', 0, 1)
  const batch =
    x.rank > 3 ? x.detach().reshape(-1, x.shape.at(-2) as number, x.shape.at(-1) as number) : x
  const out = Tensor.empty(batch.shape, x.dtype === 'bfloat16' ? 'bfloat16' : 'float32', x.device)
  const write = () => {
    begin()
    view(batch)
    view(out)
    number(computeNumber)
    number(methodNumber)
    number(eps)
    number(schedule.normFactor)
    number(normalizationNumber)
    number(allowNonFinite)
    writeSteps(schedule)
  }
  return {
    input: batch.buffer,
    out,
    write,
    result: () => (x.rank > 3 ? out.reshape(...x.shape) : out),
  }
}

/**
 * Replaces the singular values of x by values near 1: with x = UΣVᵀ the result is about U·Vᵀ, more
 * exactly U·p(Σ)·Vᵀ with p the composed polynomial of the schedule. Iterates on the shorter side.
 *
 * @param x […, rows, cols]; leading axes are a batch. float64 is computed in float32.
 * @returns a tensor of x's shape, float32 (bfloat16 for bfloat16); no gradient. Zero gives zero.
 * @throws NumericalError where x holds NaN or Inf, unless `allowNonFinite`
 */
export function orthogonalize(x: ArrayLike, options: OrthogonalizeOptions = {}): Tensor {
  const { input, out, write, result } = prepare(x, options)
  write()
  native.orthogonalize(input, out.buffer)
  return result()
}

/** `orthogonalize` on another thread. */
export async function orthogonalizeAsync(
  x: ArrayLike,
  given: OrthogonalizeOptions & AsyncOptions = {},
): Promise<Tensor> {
  const { signal, ...options } = checkOptions(given)
  const { input, out, write, result } = prepare(x, options)
  await runAsync(
    () => {
      write()
      return native.orthogonalizeAsync(input, out.buffer)
    },
    { signal },
  )
  return result()
}
