// Reduction to bidiagonal form by reflections from both sides, divide and conquer on that, reflections
// applied to the vectors. Floor: 8n³/3 FLOPs for the reduction of an n×n matrix, half of them in two
// matrix-vector products a column, which read the whole remaining matrix (8n³/3 bytes in f32, from
// cache where it fits); the rest, and 4n³ and more for the vectors, in matrix products. A tall matrix is first
// reduced to its triangle by QR.

#include "ops/bidiagonal_svd.h"
#include "ops/device_factor.h"
#include "ops/reduction.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

// A (m×n, m ≥ n, row-major) = H·B·Gᵀ, blocks as in LAPACK's labrd: within a block A stays as it is, and
// the pairs (v, y), (x, u) in rows of l and r stand for the update A − lᵀ·r that is still to come.
template <typename T>
class Bidiagonal {
 public:
  Bidiagonal(Context& context, T* a, int64_t m, int64_t n)
      : left(context, n, m), right(context, std::max<int64_t>(0, n - 1), n),
        d(static_cast<size_t>(n)), e(static_cast<size_t>(n)), context_(context),
        k_(dense_kernels<T>(context)), a_(a), m_(m), n_(n),
        l_(context.workspace.take<T>(2 * kReductionBlock * m)),
        r_(context.workspace.take<T>(2 * kReductionBlock * n)) {}

  Reflectors<T> left, right;
  std::vector<double> d, e;

  Status run() {
    for (int64_t first = 0; first < n_; first += kReductionBlock) {
      PALIMPSEST_TRY(check_abort(context_));
      const int64_t w = std::min(kReductionBlock, n_ - first);
      for (int64_t q = 0; q < w; ++q) column(first + q, 2 * q);
      const int64_t next = first + w;
      PALIMPSEST_TRY(product(context_, strided(l_ + next, 2 * w, m_ - next, m_).transposed(),
                             strided(r_ + next, 2 * w, n_ - next, n_),
                             strided(a_ + next * n_ + next, m_ - next, n_ - next, n_), -1, 1));
    }
    PALIMPSEST_TRY(left.form(context_));
    return right.form(context_);
  }

 private:
  // Column i and row i, with `pending` rows of l and r.
  void column(int64_t i, int64_t pending) {
    T coefficients[2 * kReductionBlock];
    T* const v = l_ + pending * m_ + i;
    for (int64_t j = i; j < m_; ++j) v[j - i] = a_[j * n_ + i];
    for (int64_t r = 0; r < pending; ++r) coefficients[r] = r_[r * n_ + i];
    k_.matvec_transposed(context_, l_ + i, m_, pending, m_ - i, coefficients, -1, 1, v);
    T tau = 0;
    T beta = 0;
    make_reflector(v, m_ - i, tau, beta);
    d[static_cast<size_t>(i)] = static_cast<double>(beta);
    left.set(i, i, v, tau);
    const int64_t rest = n_ - i - 1;
    if (rest == 0) return;

    T* const y = r_ + pending * n_ + i + 1;
    k_.matvec_transposed(context_, a_ + i * n_ + i + 1, n_, m_ - i, rest, v, 1, 0, y);
    k_.matvec(context_, l_ + i, m_, pending, m_ - i, v, 1, 0, coefficients);
    k_.matvec_transposed(context_, r_ + i + 1, n_, pending, rest, coefficients, -1, 1, y);
    for (int64_t j = 0; j < rest; ++j) y[j] *= tau;

    T* const u = y + n_;
    std::memcpy(u, a_ + i * n_ + i + 1, static_cast<size_t>(rest) * sizeof(T));
    for (int64_t r = 0; r <= pending; ++r) coefficients[r] = l_[r * m_ + i];
    k_.matvec_transposed(context_, r_ + i + 1, n_, pending + 1, rest, coefficients, -1, 1, u);
    make_reflector(u, rest, tau, beta);
    e[static_cast<size_t>(i)] = static_cast<double>(beta);
    right.set(i, i + 1, u, tau);

    T* const x = v + m_ + 1;
    const int64_t below = m_ - i - 1;
    k_.matvec(context_, a_ + (i + 1) * n_ + i + 1, n_, below, rest, u, 1, 0, x);
    k_.matvec(context_, r_ + i + 1, n_, pending + 1, rest, u, 1, 0, coefficients);
    k_.matvec_transposed(context_, l_ + i + 1, m_, pending + 1, below, coefficients, -1, 1, x);
    for (int64_t j = 0; j < below; ++j) x[j] *= tau;
  }

  Context& context_;
  const DenseKernels<T>& k_;
  T* a_;
  int64_t m_, n_;
  T* l_;
  T* r_;
};

// The square or slightly tall matrix `a` (m×n), destroyed: rows of ut (n×m) and vt (n×n), or values.
template <typename T>
Status by_reduction(Context& context, T* a, int64_t m, int64_t n, double* s, T* ut, T* vt) {
  const Workspace::Scope scope(context.workspace);
  Bidiagonal<T> b(context, a, m, n);
  PALIMPSEST_TRY(b.run());
  std::copy(b.d.begin(), b.d.end(), s);
  if (ut == nullptr) {
    return bidiagonal_svd<double>(context, n, s, b.e.data(), nullptr, nullptr);
  }
  T* const small = context.workspace.take<T>(n * n);
  PALIMPSEST_TRY(bidiagonal_svd(context, n, s, b.e.data(), small, vt));
  for (int64_t i = 0; i < n; ++i) {
    std::copy(small + i * n, small + (i + 1) * n, ut + i * m);
    std::fill(ut + i * m + n, ut + (i + 1) * m, T(0));
  }
  PALIMPSEST_TRY(b.left.apply(context, ut, n));
  return b.right.apply(context, vt, n);
}

// A tall or square matrix given by its columns (`columns`, n×m, destroyed).
template <typename T>
Status tall_svd(Context& context, T* columns, int64_t m, int64_t n, double* s, T* ut, T* vt) {
  const Workspace::Scope scope(context.workspace);
  if (2 * m < 3 * n) {
    T* const a = context.workspace.take<T>(m * n);
    PALIMPSEST_TRY(copy(context, row_major(columns, n, m).transposed(), row_major(a, m, n)));
    return by_reduction(context, a, m, n, s, ut, vt);
  }
  T* const r = context.workspace.take<T>(n * n);
  T* const triangles = context.workspace.take<T>((n + kReflectorBlock) * kReflectorBlock);
  PALIMPSEST_TRY(factor_rows(context, columns, m, n, m, r, triangles));
  T* const small = ut != nullptr ? context.workspace.take<T>(n * n) : nullptr;
  PALIMPSEST_TRY(by_reduction(context, r, n, n, s, small, vt));
  if (ut == nullptr) return {};
  for (int64_t i = 0; i < n; ++i) {
    std::copy(small + i * n, small + (i + 1) * n, ut + i * m);
    std::fill(ut + i * m + n, ut + (i + 1) * m, T(0));
  }
  return apply_reflectors(context, columns, m, n, m, triangles, false, ut, m, n);
}

template <typename T>
Status svd_of(Context& context, const Matrix& a, const Matrix& u, void* values, const Matrix& vt) {
  const bool wide = a.rows < a.cols;
  const int64_t m = std::max(a.rows, a.cols);
  const int64_t n = std::min(a.rows, a.cols);
  const bool vectors = u.data != nullptr;
  const Workspace::Scope scope(context.workspace);
  T* const columns = context.workspace.take<T>(n * m);
  auto* const s = context.workspace.take<double>(n);
  T* const left = vectors ? context.workspace.take<T>(n * m) : nullptr;
  T* const right = vectors ? context.workspace.take<T>(n * n) : nullptr;
  PALIMPSEST_TRY(copy(context, wide ? a : a.transposed(), row_major(columns, n, m)));
  const double scale = bring_near_one(columns, n * m);
  PALIMPSEST_TRY(tall_svd(context, columns, m, n, s, left, right));
  for (int64_t i = 0; i < n; ++i) static_cast<T*>(values)[i] = static_cast<T>(s[i] / scale);
  if (!vectors) return {};
  context.parallel_chunks(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!(wide ? points_down(right + i * n, n) : points_down(left + i * m, m))) continue;
      negate(left + i * m, m);
      negate(right + i * n, n);
    }
  });
  const Matrix long_side = row_major(left, n, m);
  const Matrix short_side = row_major(right, n, n);
  PALIMPSEST_TRY(copy(context, (wide ? short_side : long_side).transposed(), u));
  return copy(context, wide ? long_side : short_side, vt);
}

}  // namespace

Status svd(Context& context, const Matrix& a, const Matrix& u, void* s, const Matrix& vt) {
  if (std::min(a.rows, a.cols) == 0) return {};
  PALIMPSEST_TRY(check_finite(context, a, "svd"));
  if (context.access != nullptr) return PALIMPSEST_BY_DTYPE(a.dtype, svd_on_device)(context, a, u, s, vt);
  return PALIMPSEST_BY_DTYPE(a.dtype, svd_of)(context, a, u, s, vt);
}

}  // namespace palimpsest
