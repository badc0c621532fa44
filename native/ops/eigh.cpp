// Reduction to tridiagonal form, divide and conquer, reflections applied to the vectors. Floor: 4n³/3
// FLOPs for the reduction, half of them in one matrix-vector product a column that reads the remaining
// matrix; 2n³ for applying the reflections.
//
// The tridiagonal matrix, shifted until it is positive definite (Gershgorin), is Bᵀ·B with a
// bidiagonal B: its eigenvectors are B's right singular vectors, its eigenvalues σ² less the shift. All
// errors stay below a few ε‖A‖, as for any backward stable method, and one divide and conquer serves
// both decompositions.

#include <limits>

#include "ops/bidiagonal_svd.h"
#include "ops/device_factor.h"
#include "ops/reduction.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

// A (n×n, symmetric, both triangles) = H·T·Hᵀ, blocks as in LAPACK's latrd: the pairs (v, w) and
// (w, v) in rows of s and p stand for the update A − sᵀ·p that is still to come.
template <typename T>
class Tridiagonal {
 public:
  Tridiagonal(Context& context, T* a, int64_t n)
      : reflectors(context, std::max<int64_t>(0, n - 1), n), d(static_cast<size_t>(n)),
        e(static_cast<size_t>(n)), context_(context), k_(dense_kernels<T>(context)), a_(a), n_(n),
        s_(context.workspace.take<T>(2 * kReductionBlock * n)),
        p_(context.workspace.take<T>(2 * kReductionBlock * n)) {}

  Reflectors<T> reflectors;
  std::vector<double> d, e;

  Status run() {
    for (int64_t first = 0; first < n_; first += kReductionBlock) {
      PALIMPSEST_TRY(check_abort(context_));
      const int64_t w = std::min(kReductionBlock, n_ - first);
      for (int64_t q = 0; q < w; ++q) column(first + q, 2 * q);
      const int64_t next = first + w;
      const int64_t rest = n_ - next;
      PALIMPSEST_TRY(product(context_, strided(s_ + next, 2 * w, rest, n_).transposed(),
                             strided(p_ + next, 2 * w, rest, n_),
                             strided(a_ + next * n_ + next, rest, rest, n_), -1, 1, true));
    }
    return reflectors.form(context_);
  }

 private:
  void column(int64_t i, int64_t pending) {
    T coefficients[2 * kReductionBlock];
    // The diagonal entry, then the reflector in the same place.
    T* const line = s_ + pending * n_ + i;
    std::memcpy(line, a_ + i * n_ + i, static_cast<size_t>(n_ - i) * sizeof(T));
    for (int64_t r = 0; r < pending; ++r) coefficients[r] = p_[r * n_ + i];
    k_.matvec_transposed(context_, s_ + i, n_, pending, n_ - i, coefficients, -1, 1, line);
    d[static_cast<size_t>(i)] = static_cast<double>(line[0]);
    const int64_t rest = n_ - i - 1;
    if (rest == 0) return;
    T* const v = line + 1;
    T tau = 0;
    T beta = 0;
    make_reflector(v, rest, tau, beta);
    e[static_cast<size_t>(i)] = static_cast<double>(beta);
    reflectors.set(i, i + 1, v, tau);

    T* const w = v + n_;
    k_.matvec(context_, a_ + (i + 1) * (n_ + 1), n_, rest, rest, v, 1, 0, w);
    k_.matvec(context_, p_ + i + 1, n_, pending, rest, v, 1, 0, coefficients);
    k_.matvec_transposed(context_, s_ + i + 1, n_, pending, rest, coefficients, -1, 1, w);
    double along = 0;
    for (int64_t j = 0; j < rest; ++j) {
      w[j] *= tau;
      along += static_cast<double>(w[j]) * static_cast<double>(v[j]);
    }
    const T share = static_cast<T>(-0.5 * static_cast<double>(tau) * along);
    for (int64_t j = 0; j < rest; ++j) w[j] += share * v[j];
    T* const p = p_ + pending * n_ + i + 1;
    std::memcpy(p, w, static_cast<size_t>(rest) * sizeof(T));
    std::memcpy(p + n_, v, static_cast<size_t>(rest) * sizeof(T));
  }

  Context& context_;
  const DenseKernels<T>& k_;
  T* a_;
  int64_t n_;
  T* s_;
  T* p_;
};

// d, e ← the bidiagonal B of T + shift·I = Bᵀ·B; returns the shift.
double shifted_root(std::vector<double>& d, std::vector<double>& e) {
  const size_t n = d.size();
  double least = std::numeric_limits<double>::infinity();
  double norm = 0;
  for (size_t i = 0; i < n; ++i) {
    const double beside = (i > 0 ? std::fabs(e[i - 1]) : 0) + (i + 1 < n ? std::fabs(e[i]) : 0);
    least = std::min(least, d[i] - beside);
    norm = std::max(norm, std::fabs(d[i]) + beside);
  }
  const double margin = 4 * std::numeric_limits<double>::epsilon() * norm;
  const double shift = margin - least;
  double before = 0;
  for (size_t i = 0; i < n; ++i) {
    const double square = d[i] + shift - before * before;
    d[i] = std::sqrt(std::max(square, margin / 16));
    if (i + 1 < n && d[i] > 0) e[i] /= d[i];
    before = e[i];
  }
  return shift;
}

template <typename T>
Status eigh_of(Context& context, const Matrix& a, void* values, const Matrix& v) {
  const int64_t n = a.rows;
  const bool vectors = v.data != nullptr;
  const Workspace::Scope scope(context.workspace);
  T* const work = context.workspace.take<T>(n * n);
  PALIMPSEST_TRY(copy(context, a, row_major(work, n, n)));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) work[i * n + j] = work[j * n + i];
  }
  PALIMPSEST_TRY(check_finite(context, row_major(work, n, n), "eigh"));
  const double scale = bring_near_one(work, n * n);
  Tridiagonal<T> t(context, work, n);
  PALIMPSEST_TRY(t.run());
  const double shift = shifted_root(t.d, t.e);
  auto* const w = static_cast<T*>(values);
  T* const rows = vectors ? context.workspace.take<T>(n * n) : nullptr;
  PALIMPSEST_TRY(vectors ? bidiagonal_svd<T>(context, n, t.d.data(), t.e.data(), nullptr, rows)
                         : bidiagonal_svd<double>(context, n, t.d.data(), t.e.data(), nullptr, nullptr));
  for (int64_t i = 0; i < n; ++i) {
    const double sigma = t.d[static_cast<size_t>(n - 1 - i)];
    w[i] = static_cast<T>((sigma * sigma - shift) / scale);
  }
  if (!vectors) return {};
  PALIMPSEST_TRY(t.reflectors.apply(context, rows, n));
  context.parallel_chunks(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (points_down(rows + i * n, n)) negate(rows + i * n, n);
    }
  });
  // Ascending: the last row first.
  const Matrix reversed = {rows + (n - 1) * n, dtype_of<T>, n, n, -n, 1, 0};
  return copy(context, reversed.transposed(), v);
}

}  // namespace

Status eigh(Context& context, const Matrix& a, void* w, const Matrix& v) {
  if (a.rows != a.cols) return {Code::shape, "eigh: the matrix must be square"};
  if (a.rows == 0) return {};
  if (context.access != nullptr) return PALIMPSEST_BY_DTYPE(a.dtype, eigh_on_device)(context, a, w, v);
  return PALIMPSEST_BY_DTYPE(a.dtype, eigh_of)(context, a, w, v);
}

}  // namespace palimpsest
