// Floor: n³/3 FLOPs. Recursive: A₁₁ = L₁₁L₁₁ᵀ, L₂₁ = A₂₁L₁₁⁻ᵀ, A₂₂ − L₂₁L₂₁ᵀ = L₂₂L₂₂ᵀ.

#include <string>

#include "ops/triangular.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

template <typename T>
Status factor(Context& context, const Matrix& a, int64_t place, int32_t* failed) {
  const int64_t n = a.rows;
  if (n <= kTriangle) {
    dense_kernels<T>(context).cholesky_block(context, static_cast<T*>(a.data), a.row_stride, n, place, failed);
    return {};
  }
  PALIMPSEST_TRY(check_abort(context));
  const int64_t half = (n / 2 + kTriangle - 1) / kTriangle * kTriangle;
  const Matrix l11 = part(a, 0, half, 0, half);
  const Matrix l21 = part(a, half, n - half, 0, half);
  const Matrix rest = part(a, half, n - half, half, n - half);
  PALIMPSEST_TRY(factor<T>(context, l11, place, failed));
  PALIMPSEST_TRY(solve_in_place(context, l11, true, false, l21.transposed()));
  PALIMPSEST_TRY(product(context, l21, l21.transposed(), rest, -1, 1, true));
  return factor<T>(context, rest, place + half, failed);
}

template <typename T>
Status cholesky_of(Context& context, const Matrix& a, const Matrix& l) {
  const int64_t n = a.rows;
  const Workspace::Scope scope(context.workspace);
  T* const work = context.workspace.take<T>(n * n);
  PALIMPSEST_TRY(copy(context, a, row_major(work, n, n)));
  // Products that are told to be symmetric mirror what they read below the diagonal.
  const DenseKernels<T>& kernels = dense_kernels<T>(context);
  kernels.keep_triangle(context, work, n, n, n, Triangle::lower);
  PALIMPSEST_TRY(check_finite(context, row_major(work, n, n), "cholesky"));
  int32_t failed = -1;
  auto* const where = context.workspace.take<int32_t>(1);
  PALIMPSEST_TRY(context.write_bytes(where, &failed, sizeof(failed)));
  PALIMPSEST_TRY(factor<T>(context, row_major(work, n, n), 0, where));
  PALIMPSEST_TRY(context.read(failed, where));
  if (failed >= 0) {
    return {Code::numerical,
            "cholesky: the matrix is not positive definite (row " + std::to_string(failed) + ")"};
  }
  kernels.keep_triangle(context, work, n, n, n, Triangle::lower);
  return copy(context, row_major(work, n, n), l);
}

}  // namespace

Status cholesky(Context& context, const Matrix& a, const Matrix& l) {
  if (a.rows != a.cols) return {Code::shape, "cholesky: the matrix must be square"};
  if (a.rows == 0) return {};
  return PALIMPSEST_BY_DTYPE(a.dtype, cholesky_of)(context, a, l);
}

}  // namespace palimpsest
