// Floor: 2mn² − 2n³/3 FLOPs for R (m ≥ n), as many again for Q, nearly all in matrix products.

#include <string>

#include "ops/device_factor.h"
#include "ops/householder.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

template <typename T>
Status qr_of(Context& context, const Matrix& a, const Matrix& q, const Matrix& r) {
  const int64_t m = a.rows;
  const int64_t n = a.cols;
  const int64_t k = std::min(m, n);
  const Workspace::Scope scope(context.workspace);
  T* const columns = context.workspace.take<T>(n * m);
  T* const upper = context.workspace.take<T>(k * n);
  T* const triangles = context.workspace.take<T>((k + kReflectorBlock) * kReflectorBlock);
  PALIMPSEST_TRY(copy(context, a.transposed(), row_major(columns, n, m)));
  PALIMPSEST_TRY(factor_rows(context, columns, m, n, m, upper, triangles));
  // Rows of R whose diagonal is negative are turned, and the columns of Q with them.
  T* const basis = context.workspace.take<T>(k * m);
  std::fill(basis, basis + k * m, T(0));
  for (int64_t i = 0; i < k; ++i) {
    const bool negative = upper[i * n + i] < 0;
    basis[i * m + i] = negative ? T(-1) : T(1);
    for (int64_t j = 0; negative && j < n; ++j) upper[i * n + j] = -upper[i * n + j];
  }
  // Column i of Q = H·(±eᵢ); the first blocks of reflectors leave the later columns' zeros alone.
  for (int64_t first = (k - 1) / kReflectorBlock * kReflectorBlock; first >= 0;
       first -= kReflectorBlock) {
    PALIMPSEST_TRY(check_abort(context));
    const int64_t w = std::min(kReflectorBlock, k - first);
    PALIMPSEST_TRY(apply_block(context, columns + first * m + first, m, w, m - first,
                               triangles + first * kReflectorBlock, true, basis + first * m + first, m,
                               k - first));
  }
  PALIMPSEST_TRY(copy(context, row_major(basis, k, m).transposed(), q));
  return copy(context, row_major(upper, k, n), r);
}

}  // namespace

Status qr(Context& context, const Matrix& a, const Matrix& q, const Matrix& r) {
  if (std::min(a.rows, a.cols) == 0) return {};
  PALIMPSEST_TRY(check_finite(context, a, "qr"));
  if (context.access != nullptr) return PALIMPSEST_BY_DTYPE(a.dtype, qr_on_device)(context, a, q, r);
  return PALIMPSEST_BY_DTYPE(a.dtype, qr_of)(context, a, q, r);
}

}  // namespace palimpsest
