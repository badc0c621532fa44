/** A device's results beside the CPU's. */

import type { Test } from 'tap'
import * as p from '../../lib/index.js'

/** A function of tensors. */
export type Make = (...xs: p.Tensor[]) => p.Tensor

/** The comparisons of one device; inputs are the CPU's. */
export function comparer(id: string) {
  /** ‖f(on the device) − f(on the CPU)‖ ≤ tolerance·‖f‖. */
  const same = (t: Test, name: string, f: Make, inputs: p.Tensor[], tolerance = 1e-5) => {
    const expected = f(...inputs).to('float64')
    const got = f(...inputs.map((x) => x.to(id)))
    t.equal(got.device, id, `${name} stays on the device`)
    t.same(got.shape, expected.shape, `${name}: shape`)
    const error = got.to('cpu').to('float64').sub(expected).norm().item()
    const size = expected.norm().item()
    t.ok(error <= tolerance * (size + 1e-30), `${name}: ${error} of ${size}`)
  }
  const exact = (t: Test, name: string, f: Make, inputs: p.Tensor[]) =>
    t.same(f(...inputs.map((x) => x.to(id))).toArray(), f(...inputs).toArray(), name)
  const gradientOf =
    (f: Make): Make =>
    (...xs) => {
      const leaves = xs.map((x) =>
        x.dtype === 'int32' || x.dtype === 'bool' ? x : x.detach().requireGrad(),
      )
      f(...leaves)
        .square()
        .sum()
        .backward()
      return p.cat(
        leaves.flatMap((x) => (x.grad ? [x.grad.reshape(-1)] : [])),
        0,
      )
    }
  /** Values and gradients. */
  const both = (t: Test, name: string, f: Make, inputs: p.Tensor[], tolerance = 2e-5) => {
    same(t, name, f, inputs, tolerance)
    same(t, `${name}, gradients`, gradientOf(f), inputs, tolerance)
  }
  return { same, exact, both }
}
