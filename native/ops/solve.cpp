// Floor: 2n³/3 FLOPs for the factors (ops/lu.h), 2n² for each right side.

#include <string>
#include <vector>

#include "ops/lu.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

template <typename T>
Status solve_of(Context& context, const Matrix& a, const Matrix& b, const Matrix& x) {
  const int64_t n = a.rows;
  const int64_t k = b.cols;
  const Workspace::Scope scope(context.workspace);
  T* const factors = context.workspace.take<T>(n * n);
  T* const right = context.workspace.take<T>(n * k);
  PALIMPSEST_TRY(copy(context, a, row_major(factors, n, n)));
  PALIMPSEST_TRY(copy(context, b, row_major(right, n, k)));
  Lu<T> lu(context, factors, n, n);
  int32_t singular = -1;
  PALIMPSEST_TRY(lu.factor(singular));
  if (singular >= 0) {
    return {Code::numerical, "solve: the matrix is singular (column " + std::to_string(singular) + ")"};
  }
  lu.exchange(right, k);
  const Matrix l = row_major(factors, n, n);
  PALIMPSEST_TRY(solve_in_place(context, l, true, true, row_major(right, n, k)));
  PALIMPSEST_TRY(solve_in_place(context, l, false, false, row_major(right, n, k)));
  return copy(context, row_major(right, n, k), x);
}

template <typename T>
Status triangular_of(Context& context, const Matrix& t, bool lower, bool unit, const Matrix& b,
                     const Matrix& x) {
  const int64_t n = t.rows;
  if (!unit) {
    const Workspace::Scope scope(context.workspace);
    T* const own = context.workspace.take<T>(n);
    View diagonal = view_of(t);
    diagonal.rank = 1;
    diagonal.strides[0] = t.row_stride + t.col_stride;
    PALIMPSEST_TRY(context.kernels.elementwise.unary(context, {Unary::copy, contiguous_view(own, {n}), diagonal}));
    std::vector<T> pivots(static_cast<size_t>(n));
    PALIMPSEST_TRY(context.read_bytes(pivots.data(), own, pivots.size() * sizeof(T)));
    for (int64_t i = 0; i < n; ++i) {
      if (pivots[static_cast<size_t>(i)] == 0) {
        return {Code::numerical, "solveTriangular: the matrix is singular (row " + std::to_string(i) +
                                     " has a zero on the diagonal)"};
      }
    }
  }
  PALIMPSEST_TRY(copy(context, b, x));
  return solve_in_place(context, t, lower, unit, x);
}

}  // namespace

Status solve(Context& context, const Matrix& a, const Matrix& b, const Matrix& x) {
  if (a.rows != a.cols || a.rows != b.rows) {
    return {Code::shape, "solve: 'a' must be square with as many rows as 'b'"};
  }
  if (a.rows == 0) return {};
  PALIMPSEST_TRY(check_finite(context, a, "solve"));
  PALIMPSEST_TRY(check_finite(context, b, "solve"));
  return PALIMPSEST_BY_DTYPE(a.dtype, solve_of)(context, a, b, x);
}

Status solve_triangular(Context& context, const Matrix& t, bool lower, bool unit, const Matrix& b,
                        const Matrix& x) {
  if (t.rows != t.cols || t.rows != b.rows) {
    return {Code::shape, "solveTriangular: 't' must be square with as many rows as 'b'"};
  }
  if (t.rows == 0) return {};
  PALIMPSEST_TRY(check_finite(context, b, "solveTriangular"));
  return PALIMPSEST_BY_DTYPE(t.dtype, triangular_of)(context, t, lower, unit, b, x);
}

}  // namespace palimpsest
