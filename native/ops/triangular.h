// Triangular solves by recursion: small triangles by substitution, the rest in matrix products.
#pragma once

#include "ops/factor.h"

namespace palimpsest {

// X ← L⁻¹·X; L and X have any strides. For X·L⁻¹ pass the transposes of both.
inline Status solve_in_place(Context& context, const Matrix& l, bool lower, bool unit,
                             const Matrix& x) {
  const int64_t n = l.rows;
  if (n == 0 || x.cols == 0) return {};
  if (n <= kTriangle) {
    if (l.dtype == DType::f64) {
      context.kernels.dense64.solve_block(context, l, lower, unit, x);
    } else {
      context.kernels.dense32.solve_block(context, l, lower, unit, x);
    }
    return {};
  }
  PALIMPSEST_TRY(check_abort(context));
  const int64_t half = (n / 2 + kTriangle - 1) / kTriangle * kTriangle;
  const Matrix first = part(x, 0, half, 0, x.cols);
  const Matrix second = part(x, half, n - half, 0, x.cols);
  const Matrix l11 = part(l, 0, half, 0, half);
  const Matrix l22 = part(l, half, n - half, half, n - half);
  if (lower) {
    PALIMPSEST_TRY(solve_in_place(context, l11, lower, unit, first));
    PALIMPSEST_TRY(product(context, part(l, half, n - half, 0, half), first, second, -1, 1));
    return solve_in_place(context, l22, lower, unit, second);
  }
  PALIMPSEST_TRY(solve_in_place(context, l22, lower, unit, second));
  PALIMPSEST_TRY(product(context, part(l, 0, half, half, n - half), second, first, -1, 1));
  return solve_in_place(context, l11, lower, unit, first);
}

}  // namespace palimpsest
