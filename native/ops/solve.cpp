// Floor: 2n³/3 FLOPs for the factors, 2n² for each right side. LU by recursion on columns (Toledo
// 1997): left half, rows exchanged, U₁₂ = L₁₁⁻¹A₁₂, A₂₂ − L₂₁U₁₂, right half.

#include <string>
#include <vector>

#include "ops/triangular.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

template <typename T>
class Lu {
 public:
  Lu(Context& context, T* a, int64_t n)
      : context_(context), k_(dense_kernels<T>(context)), a_(a), n_(n), pivots_(context.workspace.take<int32_t>(n)),
        failed_(context.workspace.take<int32_t>(1)) {}

  Status run() {
    int32_t failed = -1;
    PALIMPSEST_TRY(context_.write_bytes(failed_, &failed, sizeof(failed)));
    PALIMPSEST_TRY(factor(0, n_));
    PALIMPSEST_TRY(context_.read(failed, failed_));
    if (failed < 0) return {};
    return {Code::numerical, "solve: the matrix is singular (column " + std::to_string(failed) + ")"};
  }

  // All exchanges, on a matrix of n rows and `cols` columns.
  void exchange(T* x, int64_t cols) { k_.exchange_rows(context_, x, cols, cols, 0, n_, pivots_); }

 private:

  // Columns [first, first + width), rows from `first` on.
  Status factor(int64_t first, int64_t width) {
    if (width <= kTriangle) {
      k_.lu_panel(context_, a_ + first * n_ + first, n_, n_ - first, width, first, pivots_ + first, failed_);
      return {};
    }
    PALIMPSEST_TRY(check_abort(context_));
    const int64_t left = (width / 2 + kTriangle - 1) / kTriangle * kTriangle;
    const int64_t middle = first + left;
    const int64_t right = width - left;
    PALIMPSEST_TRY(factor(first, left));
    k_.exchange_rows(context_, a_ + middle, n_, right, first, left, pivots_ + first);
    const Matrix u12 = block(first, left, middle, right);
    PALIMPSEST_TRY(solve_in_place(context_, block(first, left, first, left), true, true, u12));
    PALIMPSEST_TRY(product(context_, block(middle, n_ - middle, first, left), u12,
                           block(middle, n_ - middle, middle, right), -1, 1));
    PALIMPSEST_TRY(factor(middle, right));
    k_.exchange_rows(context_, a_ + first, n_, left, middle, right, pivots_ + middle);
    return {};
  }

  Matrix block(int64_t row, int64_t rows, int64_t col, int64_t cols) {
    return strided(a_ + row * n_ + col, rows, cols, n_);
  }

  Context& context_;
  const DenseKernels<T>& k_;
  T* a_;
  int64_t n_;
  int32_t* pivots_;
  int32_t* failed_;
};

template <typename T>
Status solve_of(Context& context, const Matrix& a, const Matrix& b, const Matrix& x) {
  const int64_t n = a.rows;
  const int64_t k = b.cols;
  const Workspace::Scope scope(context.workspace);
  T* const factors = context.workspace.take<T>(n * n);
  T* const right = context.workspace.take<T>(n * k);
  PALIMPSEST_TRY(copy(context, a, row_major(factors, n, n)));
  PALIMPSEST_TRY(copy(context, b, row_major(right, n, k)));
  Lu<T> lu(context, factors, n);
  PALIMPSEST_TRY(lu.run());
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
