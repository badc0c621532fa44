#include "ops/householder.h"

#include <cstring>

namespace palimpsest {
namespace {

constexpr int64_t kSmallPanel = 8;

}  // namespace

template <typename T>
void make_reflector(T* x, int64_t n, T& tau, T& beta) {
  // Scaled by the largest entry: squares neither overflow nor vanish.
  T largest = 0;
  for (int64_t i = 1; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (largest == 0) {
    tau = 0;
    beta = x[0];
    x[0] = 1;
    return;
  }
  largest = std::max(largest, std::fabs(x[0]));
  double squares[4] = {};
  const double scale = 1 / static_cast<double>(largest);
  for (int64_t i = 0; i < n; ++i) {
    const double y = static_cast<double>(x[i]) * scale;
    squares[i & 3] += y * y;
  }
  const double norm =
      std::sqrt((squares[0] + squares[1]) + (squares[2] + squares[3])) * static_cast<double>(largest);
  const double head = static_cast<double>(x[0]);
  const double image = head >= 0 ? -norm : norm;
  tau = static_cast<T>((image - head) / image);
  beta = static_cast<T>(image);
  const double factor = 1 / (head - image);
  if (std::isfinite(factor)) {
    for (int64_t i = 1; i < n; ++i) x[i] = static_cast<T>(static_cast<double>(x[i]) * factor);
  } else {
    for (int64_t i = 1; i < n; ++i) x[i] = static_cast<T>(static_cast<double>(x[i]) / (head - image));
  }
  x[0] = 1;
}

template <typename T>
Status form_triangle(Context& context, const T* v, int64_t stride, int64_t w, int64_t length,
                     const T* tau, T* t) {
  const Workspace::Scope scope(context.workspace);
  T* const g = context.workspace.take<T>(w * w);
  const Matrix rows = strided(v, w, length, stride);
  PALIMPSEST_TRY(product(context, rows, rows.transposed(), row_major(g, w, w), 1, 0, true));
  for (int64_t j = 0; j < w; ++j) {
    for (int64_t i = 0; i < j; ++i) {
      T sum = 0;
      for (int64_t k = i; k < j; ++k) sum += t[i * kReflectorBlock + k] * g[k * w + j];
      t[i * kReflectorBlock + j] = -tau[j] * sum;
    }
    t[j * kReflectorBlock + j] = tau[j];
    for (int64_t i = j + 1; i < w; ++i) t[i * kReflectorBlock + j] = 0;
  }
  return {};
}

template <typename T>
Status apply_block(Context& context, const T* v, int64_t stride, int64_t w, int64_t length,
                   const T* t, bool transposed, T* c, int64_t c_stride, int64_t c_rows) {
  if (c_rows == 0 || w == 0) return {};
  const Workspace::Scope scope(context.workspace);
  T* const first = context.workspace.take<T>(c_rows * w);
  T* const second = context.workspace.take<T>(c_rows * w);
  const Matrix rows = strided(v, w, length, stride);
  const Matrix target = strided(c, c_rows, length, c_stride);
  Matrix triangle = strided(t, w, w, kReflectorBlock);
  if (transposed) triangle = triangle.transposed();
  PALIMPSEST_TRY(product(context, target, rows.transposed(), row_major(first, c_rows, w)));
  PALIMPSEST_TRY(product(context, row_major(first, c_rows, w), triangle,
                         row_major(second, c_rows, w)));
  return product(context, row_major(second, c_rows, w), rows, target, -1, 1);
}

namespace {

// Reflectors first … first + w − 1 of factor_rows, by recursion: left half, its effect on the right
// half, right half, and T's corner −T₁(V₁V₂ᵀ)T₂.
template <typename T>
class Factor {
 public:
  Factor(Context& context, T* a, int64_t stride, int64_t n, int64_t m, T* r)
      : context_(context), a_(a), stride_(stride), n_(n), m_(m), r_(r) {}

  Status panel(int64_t first, int64_t w, int64_t from, T* t) {
    if (w <= kSmallPanel) return small(first, w, from, t);
    const int64_t left = w / 2;
    const int64_t right = w - left;
    T* const t2 = t + left * kReflectorBlock + left;
    PALIMPSEST_TRY(panel(first, left, from, t));
    PALIMPSEST_TRY(apply_block(context_, row(first, from), stride_, left, m_ - from, t, false,
                               row(first + left, from), stride_, right));
    // What the left reflectors leave above the right panel's own diagonal belongs to R.
    keep(first, left, first + left, right);
    PALIMPSEST_TRY(panel(first + left, right, from, t2));
    const Workspace::Scope scope(context_.workspace);
    const Matrix corner = row_major(context_.workspace.take<T>(left * right), left, right);
    const Matrix half = row_major(context_.workspace.take<T>(left * right), left, right);
    PALIMPSEST_TRY(product(context_, strided(row(first, from), left, m_ - from, stride_),
                           strided(row(first + left, from), right, m_ - from, stride_).transposed(),
                           corner));
    PALIMPSEST_TRY(product(context_, strided(t, left, left, kReflectorBlock), corner, half));
    PALIMPSEST_TRY(product(context_, half, strided(t2, right, right, kReflectorBlock),
                           strided(t + left, left, right, kReflectorBlock), -1));
    for (int64_t i = left; i < w; ++i) {
      for (int64_t j = 0; j < left; ++j) t[i * kReflectorBlock + j] = 0;
    }
    return {};
  }

  // R's rows first … first + w − 1 of the rows (columns of the matrix) given; they are cleared there.
  void keep(int64_t first, int64_t w, int64_t begin, int64_t count) {
    for (int64_t j = begin; j < begin + count; ++j) {
      for (int64_t i = first; i < first + w; ++i) {
        r_[i * n_ + j] = a_[j * stride_ + i];
        a_[j * stride_ + i] = 0;
      }
    }
  }

 private:
  T* row(int64_t j, int64_t from) { return a_ + j * stride_ + from; }

  Status small(int64_t first, int64_t w, int64_t from, T* t) {
    T tau[kSmallPanel];
    for (int64_t j = 0; j < w; ++j) {
      const int64_t at = first + j;
      T beta = 0;
      make_reflector(row(at, at), m_ - at, tau[j], beta);
      r_[at * n_ + at] = beta;
      dense_kernels<T>(context_).reflect(context_, row(at + 1, at), stride_, w - j - 1, m_ - at,
                                         row(at, at), tau[j]);
      keep(at, 1, at + 1, w - j - 1);
    }
    return form_triangle(context_, row(first, from), stride_, w, m_ - from, tau, t);
  }

  Context& context_;
  T* a_;
  int64_t stride_, n_, m_;
  T* r_;
};

}  // namespace

template <typename T>
Status factor_rows(Context& context, T* a, int64_t stride, int64_t n, int64_t m, T* r, T* t) {
  const int64_t k = std::min(m, n);
  std::fill(r, r + k * n, T(0));
  Factor<T> factor(context, a, stride, n, m, r);
  for (int64_t first = 0; first < k; first += kReflectorBlock) {
    PALIMPSEST_TRY(check_abort(context));
    const int64_t w = std::min(kReflectorBlock, k - first);
    T* const triangle = t + first / kReflectorBlock * kReflectorBlock * kReflectorBlock;
    PALIMPSEST_TRY(factor.panel(first, w, first, triangle));
    PALIMPSEST_TRY(apply_block(context, a + first * stride + first, stride, w, m - first, triangle,
                               false, a + (first + w) * stride + first, stride, n - first - w));
    factor.keep(first, w, first + w, n - first - w);
  }
  return {};
}

template <typename T>
Status apply_reflectors(Context& context, const T* v, int64_t stride, int64_t k, int64_t m,
                        const T* t, bool transposed, T* c, int64_t c_stride, int64_t c_rows) {
  const int64_t blocks = (k + kReflectorBlock - 1) / kReflectorBlock;
  for (int64_t i = 0; i < blocks; ++i) {
    PALIMPSEST_TRY(check_abort(context));
    // H = block₀·block₁·…: H·C starts from the last, Hᵀ·C from the first.
    const int64_t block = transposed ? i : blocks - 1 - i;
    const int64_t first = block * kReflectorBlock;
    const int64_t w = std::min(kReflectorBlock, k - first);
    PALIMPSEST_TRY(apply_block(context, v + first * stride + first, stride, w, m - first,
                               t + block * kReflectorBlock * kReflectorBlock, !transposed, c + first,
                               c_stride, c_rows));
  }
  return {};
}

#define PALIMPSEST_INSTANTIATE(T)                                                                  \
  template void make_reflector(T*, int64_t, T&, T&);                                               \
  template Status form_triangle(Context&, const T*, int64_t, int64_t, int64_t, const T*, T*);      \
  template Status apply_block(Context&, const T*, int64_t, int64_t, int64_t, const T*, bool, T*,   \
                              int64_t, int64_t);                                                   \
  template Status factor_rows(Context&, T*, int64_t, int64_t, int64_t, T*, T*);                    \
  template Status apply_reflectors(Context&, const T*, int64_t, int64_t, int64_t, const T*, bool,  \
                                   T*, int64_t, int64_t);
PALIMPSEST_INSTANTIATE(float)
PALIMPSEST_INSTANTIATE(double)

}  // namespace palimpsest
