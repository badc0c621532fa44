// Floor, with q power iterations: A read 2q + 2 times from memory, or 2mn·width FLOPs as often. A is
// streamed as it lies (kernels/panel.h); everything else works on panels that stay in cache.
//
// Products before the last two only turn the panel towards the leading directions, so 16 bits do where the
// device is faster at that: the last two, in full, give back what such an error took (the last but one is
// half an iteration from a start that is off by 2⁻¹⁵ of A's norm).
//
// Panels are orthonormalized, unless LU is asked for between products, by Cholesky's method on their Gram matrix, summed in double: one pass
// between products, where only the range counts, two for the bases that stay. A panel that is too
// near rank deficiency for that goes through Householder reflections.

#include "palimpsest/ops/randomized_svd.h"

#include <string>
#include <vector>

#include "ops/device_svd.h"
#include "ops/lu.h"
#include "ops/reduction.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The largest magnitude of a matrix; NaN where it holds one.
Status magnitude(Context& context, const Matrix& a, double& result) {
  double values[2] = {};
  float narrow[2] = {};
  const bool wide = a.dtype == DType::f64;
  for (int i = 0; i < 2; ++i) {
    const View out = wide ? contiguous_view(values + i, {1, 1}) : contiguous_view(narrow + i, {1, 1});
    PALIMPSEST_TRY(context.kernels.reduce.reduce(
        context, {i == 0 ? Reduction::max : Reduction::min, out, view_of(a), 0b11}));
    if (!wide) values[i] = narrow[i];
  }
  result = std::isnan(values[0]) ? values[0] : std::max(values[0], -values[1]);
  return {};
}

template <typename T>
class Sketch {
 public:
  // `scaled`: A has been brought near 1, or is zero.
  Sketch(Context& context, const RandomizedSvdArgs& args, const Matrix& a, bool scaled)
      : context_(context), args_(args), a_(a), m_(a.rows), n_(a.cols), scaled_(scaled) {}

  // False after run() where A's products left the range in which squares neither overflow nor vanish,
  // or are NaN: A itself is looked at only then.
  bool in_range() const { return in_range_; }

  // Bases q (m×width) and the panel b = Aᵀ·q (n×width), or for a single pass its estimate.
  Status run(int64_t width, T*& q, T*& b) {
    width_ = width;
    if (args_.method == RangeFinder::single_pass) return single_pass(q, b);
    const int64_t blocks = args_.method == RangeFinder::block_krylov ? args_.power_iterations + 1 : 1;
    const int64_t step = width / blocks;
    T* panel = context_.workspace.take<T>(m_ * step);
    T* back = context_.workspace.take<T>(n_ * std::max(step, width));
    PALIMPSEST_TRY(normal(back, n_ * step, 0));
    // The blocks of a Krylov space stay: none of its products is made good by a later one.
    const auto rough = [&](int64_t left) { return blocks == 1 && left > 0; };
    PALIMPSEST_TRY(forward(back, step, panel, rough(args_.power_iterations)));
    PALIMPSEST_TRY(look(panel, step));
    if (!in_range_) return {};
    q = blocks == 1 ? panel : context_.workspace.take<T>(m_ * width);
    for (int64_t i = 0; i < args_.power_iterations; ++i) {
      if (blocks > 1) keep(panel, step, q, width, i * step);
      PALIMPSEST_TRY(normalize(panel, m_, step));
      PALIMPSEST_TRY(backward(panel, step, back, blocks == 1));
      PALIMPSEST_TRY(normalize(back, n_, step));
      PALIMPSEST_TRY(forward(back, step, panel, rough(args_.power_iterations - 1 - i)));
    }
    if (blocks > 1) keep(panel, step, q, width, (blocks - 1) * step);
    PALIMPSEST_TRY(orthonormalize(q, m_, width, 2));
    b = back;
    return backward(q, width, b, false);
  }

  // ‖A‖²_F in double.
  double squares() const {
    const int64_t parts = std::min<int64_t>(m_, 64);
    std::vector<double> sums(static_cast<size_t>(parts));
    context_.parallel(parts, [&](int64_t p) {
      double total = 0;
      for (int64_t i = m_ * p / parts; i < m_ * (p + 1) / parts; ++i) {
        const T* row = static_cast<const T*>(a_.data) + i * a_.row_stride;
        for (int64_t j = 0; j < n_; ++j) {
          const double x = static_cast<double>(row[j * a_.col_stride]);
          total += x * x;
        }
      }
      sums[static_cast<size_t>(p)] = total;
    });
    double total = 0;
    for (double sum : sums) total += sum;
    return total;
  }

  // b (n×width) = x·R with orthonormal x in its place; R = Ur·diag(s)·Vrᵀ. Then A ≈ (q·Vr)·diag(s)·(x·Ur)ᵀ:
  // q and b become these.
  Status finish(T* q, T* b, std::vector<double>& s) {
    const int64_t w = width_;
    std::vector<double> r;
    PALIMPSEST_TRY(orthonormalize(b, n_, w, 2, &r));
    const Workspace::Scope scope(context_.workspace);
    auto* const u = context_.workspace.take<double>(w * w);
    auto* const vt = context_.workspace.take<double>(w * w);
    s.resize(static_cast<size_t>(w));
    PALIMPSEST_TRY(svd(context_, row_major(r.data(), w, w), row_major(u, w, w), s.data(),
                       row_major(vt, w, w)));
    T* const left = context_.workspace.take<T>(w * w);
    T* const right = context_.workspace.take<T>(w * w);
    for (int64_t i = 0; i < w; ++i) {
      for (int64_t j = 0; j < w; ++j) {
        left[i * w + j] = static_cast<T>(vt[j * w + i]);
        right[i * w + j] = static_cast<T>(u[i * w + j]);
      }
    }
    PALIMPSEST_TRY(turn(q, m_, left));
    return turn(b, n_, right);
  }

 private:
  Status look(const T* y, int64_t width) {
    double top = 0;
    PALIMPSEST_TRY(magnitude(context_, strided(y, m_, width, width), top));
    const double limit = sizeof(T) == 4 ? 1e15 : 1e120;
    in_range_ = top < limit && (top > 1 / limit || scaled_);
    return {};
  }

  bool narrow(int64_t width) const { return width <= kPanelWidth && width % kPanelUnit == 0; }

  Status normal(T* out, int64_t count, uint64_t position) {
    return context_.kernels.random.normal(
        context_, {args_.seed, position, dtype_of<T>, count, out, 0, 1});
  }

  // y (m×width) = A·x.
  Status forward(const T* x, int64_t width, T* y, bool rough) {
    return multiply(a_, x, width, y, rough);
  }

  // z (n×width) = Aᵀ·y.
  Status backward(const T* y, int64_t width, T* z, bool rough) {
    return multiply(a_.transposed(), y, width, z, rough);
  }

  // y = a·x, for A or its transpose; one of the strides is 1.
  Status multiply(const Matrix& a, const T* x, int64_t width, T* y, bool rough) {
    PALIMPSEST_TRY(check_abort(context_));
    if (!narrow(width)) {
      return product(context_, a, strided(x, a.cols, width, width), row_major(y, a.rows, width));
    }
    const auto* const data = static_cast<const T*>(a.data);
    const PanelKernels<T>& k = panel_kernels<T>(context_);
    if (a.col_stride == 1) {
      const auto run = rough && k.rough_multiply != nullptr ? k.rough_multiply : k.multiply;
      run(context_, data, a.row_stride, a.rows, a.cols, x, width, y);
    } else {
      const auto run = rough && k.rough_multiply_transposed != nullptr ? k.rough_multiply_transposed
                                                                       : k.multiply_transposed;
      run(context_, data, a.col_stride, a.cols, a.rows, x, width, y);
    }
    return {};
  }

  // y (rows×width_) ← y·w.
  Status turn(T* y, int64_t rows, const T* w) {
    if (narrow(width_)) {
      panel_kernels<T>(context_).transform(context_, y, rows, width_, w);
      return {};
    }
    const Workspace::Scope scope(context_.workspace);
    T* const copy = context_.workspace.take<T>(rows * width_);
    std::copy(y, y + rows * width_, copy);
    return product(context_, row_major(copy, rows, width_), strided(w, width_, width_, width_),
                   row_major(y, rows, width_));
  }

  // Columns [at, at + step) of `all` ← panel.
  void keep(const T* panel, int64_t step, T* all, int64_t width, int64_t at) const {
    for (int64_t i = 0; i < m_; ++i) {
      std::copy(panel + i * step, panel + (i + 1) * step, all + i * width + at);
    }
  }

  // Y = AΩ and W = ΨA with 2·width + 1 rows in Ψ, from rows of A in blocks that stay in cache between
  // the two products; then A ≈ Q·X with X = (ΨQ)⁺W, by the QR decomposition of ΨQ.
  Status single_pass(T*& q, T*& b) {
    const int64_t l = std::min(m_, 2 * width_ + 1);
    q = context_.workspace.take<T>(m_ * width_);
    b = context_.workspace.take<T>(n_ * width_);
    const Workspace::Scope scope(context_.workspace);
    T* const omega = context_.workspace.take<T>(n_ * width_);
    T* const psi = context_.workspace.take<T>(m_ * l);  // Ψᵀ
    T* const w = context_.workspace.take<T>(l * n_);
    PALIMPSEST_TRY(normal(omega, n_ * width_, 0));
    PALIMPSEST_TRY(normal(psi, m_ * l, static_cast<uint64_t>(round_up(n_ * width_, 4))));
    constexpr int64_t kRows = 256;
    for (int64_t i = 0; i < m_; i += kRows) {
      PALIMPSEST_TRY(check_abort(context_));
      const int64_t rows = std::min(kRows, m_ - i);
      const Matrix block = part(a_, i, rows, 0, n_);
      PALIMPSEST_TRY(product(context_, block, row_major(omega, n_, width_),
                             row_major(q + i * width_, rows, width_)));
      PALIMPSEST_TRY(product(context_, row_major(psi + i * l, rows, l).transposed(), block,
                             row_major(w, l, n_), 1, i > 0 ? 1 : 0));
    }
    PALIMPSEST_TRY(look(q, width_));
    if (!in_range_) return {};
    PALIMPSEST_TRY(orthonormalize(q, m_, width_, 2));
    // (ΨQ) = P·R, X = R⁻¹PᵀW.
    T* const seen = context_.workspace.take<T>(l * width_);
    T* const p = context_.workspace.take<T>(l * width_);
    T* const r = context_.workspace.take<T>(width_ * width_);
    PALIMPSEST_TRY(product(context_, row_major(psi, m_, l).transposed(), row_major(q, m_, width_),
                           row_major(seen, l, width_)));
    PALIMPSEST_TRY(qr(context_, row_major(seen, l, width_), row_major(p, l, width_),
                      row_major(r, width_, width_)));
    PALIMPSEST_TRY(product(context_, row_major(p, l, width_).transposed(), row_major(w, l, n_),
                           row_major(b, n_, width_).transposed()));
    return solve_in_place(context_, row_major(r, width_, width_), false, false,
                          row_major(b, n_, width_).transposed());
  }

  // A panel between two products. The blocks of a Krylov space need a basis that keeps its directions apart.
  Status normalize(T* y, int64_t rows, int64_t width) {
    const bool krylov = args_.method == RangeFinder::block_krylov;
    if (args_.normalizer == Normalizer::none && !krylov) return {};
    if (args_.normalizer != Normalizer::lu) return orthonormalize(y, rows, width, 1);
    const Workspace::Scope scope(context_.workspace);
    Lu<T> lu(context_, y, rows, width);
    int32_t singular = -1;
    PALIMPSEST_TRY(lu.factor(singular));
    return lu.keep_lower();
  }

  // y ← an orthonormal basis of its range; r (width×width), where asked for, with y_before = y·r.
  Status orthonormalize(T* y, int64_t rows, int64_t width, int passes,
                        std::vector<double>* r = nullptr) {
    if (r != nullptr) {
      r->assign(static_cast<size_t>(width * width), 0);
      for (int64_t i = 0; i < width; ++i) (*r)[static_cast<size_t>(i * (width + 1))] = 1;
    }
    for (int pass = 0; pass < passes; ++pass) {
      bool good = false;
      if (narrow(width)) PALIMPSEST_TRY(by_gram(y, rows, width, r, good));
      if (!good) return by_reflections(y, rows, width, r);
    }
    return {};
  }

  // r ← factor · r.
  static void prepend(const double* factor, int64_t width, std::vector<double>& r) {
    std::vector<double> result(r.size(), 0);
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t k = 0; k < width; ++k) {
        const double x = factor[i * width + k];
        if (x == 0) continue;
        for (int64_t j = 0; j < width; ++j) {
          result[static_cast<size_t>(i * width + j)] += x * r[static_cast<size_t>(k * width + j)];
        }
      }
    }
    r.swap(result);
  }

  // to −= factor · from.
  static void subtract(double factor, const double* __restrict from, double* __restrict to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] -= factor * from[i];
  }

  // Cholesky's method, with unit diagonal for the sake of scale. `good` is false, and y untouched,
  // where a pivot shows that the panel is too near rank deficiency for it.
  Status by_gram(T* y, int64_t rows, int64_t width, std::vector<double>* r, bool& good) {
    const double least = sizeof(T) == 4 ? 1e-11 : 1e-9;
    const Workspace::Scope scope(context_.workspace);
    auto* const g = context_.workspace.take<double>(width * width);
    auto* const upper = context_.workspace.take<double>(width * width);
    auto* const x = context_.workspace.take<double>(width * width);
    panel_kernels<T>(context_).gram(context_, y, rows, width, g);
    std::vector<double> scale(static_cast<size_t>(width));
    for (int64_t i = 0; i < width; ++i) {
      const double square = g[i * width + i];
      if (!(square > 0) || !std::isfinite(square)) return {};
      scale[static_cast<size_t>(i)] = std::sqrt(square);
    }
    // R's rows one after the other; loops run along rows, for the sake of vectors.
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        upper[i * width + j] =
            j < i ? 0 : g[j * width + i] / (scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)]);
      }
    }
    for (int64_t i = 0; i < width; ++i) {
      double* const row = upper + i * width;
      if (!(row[i] > least)) return {};
      const double root = std::sqrt(row[i]);
      for (int64_t j = i; j < width; ++j) row[j] /= root;
      for (int64_t k = i + 1; k < width; ++k) subtract(row[k], row + k, upper + k * width + k, width - k);
    }
    // Its inverse, from the last row up.
    for (int64_t i = width - 1; i >= 0; --i) {
      double* const row = x + i * width;
      const double* const r_row = upper + i * width;
      for (int64_t j = 0; j < width; ++j) row[j] = i == j ? 1 : 0;
      for (int64_t k = i + 1; k < width; ++k) subtract(r_row[k], x + k * width + k, row + k, width - k);
      for (int64_t j = i; j < width; ++j) row[j] /= r_row[i];
    }
    T* const inverse = context_.workspace.take<T>(width * width);
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        inverse[i * width + j] = static_cast<T>(x[i * width + j] / scale[static_cast<size_t>(i)]);
        upper[i * width + j] *= scale[static_cast<size_t>(j)];
      }
    }
    panel_kernels<T>(context_).transform(context_, y, rows, width, inverse);
    if (r != nullptr) prepend(upper, width, *r);
    good = true;
    return {};
  }

  Status by_reflections(T* y, int64_t rows, int64_t width, std::vector<double>* r) {
    const Workspace::Scope scope(context_.workspace);
    T* const before = context_.workspace.take<T>(rows * width);
    T* const upper = context_.workspace.take<T>(width * width);
    std::copy(y, y + rows * width, before);
    PALIMPSEST_TRY(qr(context_, row_major(before, rows, width), row_major(y, rows, width),
                      row_major(upper, width, width)));
    if (r == nullptr) return {};
    const std::vector<double> factor(upper, upper + width * width);
    prepend(factor.data(), width, *r);
    return {};
  }

  Context& context_;
  const RandomizedSvdArgs& args_;
  const Matrix& a_;
  int64_t m_, n_;
  int64_t width_ = 0;
  bool in_range_ = true;
  bool scaled_;
};

// The exact decomposition, cut off: where a panel would be as wide as the matrix.
template <typename T>
Status exact(Context& context, const Matrix& a, T*& u, T*& v, std::vector<double>& s) {
  const int64_t k = std::min(a.rows, a.cols);
  u = context.workspace.take<T>(a.rows * k);
  v = context.workspace.take<T>(a.cols * k);
  std::vector<T> values(static_cast<size_t>(k));
  PALIMPSEST_TRY(svd(context, a, row_major(u, a.rows, k), values.data(),
                     row_major(v, a.cols, k).transposed()));
  s.assign(values.begin(), values.end());
  return {};
}

template <typename T>
Status write(Context& context, const RandomizedSvdArgs& args, const T* u, const T* v, int64_t width,
             const std::vector<double>& s, double scale, int64_t found) {
  const int64_t m = args.u.rows;
  const int64_t n = args.vt.cols;
  const int64_t rank = args.u.cols;
  for (int64_t j = 0; j < rank; ++j) {
    static_cast<T*>(args.s)[j] = j < found ? static_cast<T>(s[static_cast<size_t>(j)] / scale) : T(0);
  }
  const auto columns = [&](const T* from, int64_t rows) {
    return part(strided(from, rows, width, width), 0, rows, 0, rank);
  };
  PALIMPSEST_TRY(copy(context, columns(u, m), args.u));
  PALIMPSEST_TRY(copy(context, columns(v, n).transposed(), args.vt));
  const auto at = [](const Matrix& x, int64_t i, int64_t j) -> T& {
    return static_cast<T*>(x.data)[i * x.row_stride + j * x.col_stride];
  };
  context.parallel_chunks(rank, 4, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      int64_t best = 0;
      for (int64_t i = 1; i < m; ++i) {
        if (std::fabs(u[i * width + j]) > std::fabs(u[best * width + j])) best = i;
      }
      const T sign = j >= found ? T(0) : u[best * width + j] < 0 ? T(-1) : T(1);
      if (sign == 1) continue;
      for (int64_t i = 0; i < m; ++i) at(args.u, i, j) *= sign;
      for (int64_t i = 0; i < n; ++i) at(args.vt, j, i) *= sign;
    }
  });
  return {};
}

template <typename T>
Status randomized_of(Context& context, const RandomizedSvdArgs& args, int64_t& found) {
  const int64_t m = args.a.rows;
  const int64_t n = args.a.cols;
  const int64_t least = std::min(m, n);
  const int64_t rank = std::min(args.rank, least);
  const Workspace::Scope scope(context.workspace);
  // Streamed as it lies where one of the strides is 1; a copy otherwise, or where it must be scaled.
  Matrix a = args.a;
  double scale = 1;
  bool scaled = false;
  const auto take_copy = [&]() -> Status {
    T* const own = context.workspace.take<T>(m * n);
    PALIMPSEST_TRY(copy(context, a, row_major(own, m, n)));
    a = row_major(own, m, n);
    return {};
  };
  if (a.col_stride != 1 && a.row_stride != 1) PALIMPSEST_TRY(take_copy());
  const auto rescale = [&]() -> Status {
    PALIMPSEST_TRY(take_copy());
    scale = bring_near_one(static_cast<T*>(a.data), m * n);
    scaled = true;
    return {};
  };
  int64_t wanted = args.tolerance > 0 ? std::min<int64_t>(rank, 16) : rank;
  for (;;) {
    const int64_t blocks = args.method == RangeFinder::block_krylov ? args.power_iterations + 1 : 1;
    // In a Krylov space the blocks together hold the directions.
    const int64_t step = round_up((wanted + args.oversamples + blocks - 1) / blocks, kPanelUnit);
    const int64_t width = step * blocks;
    T* u = nullptr;
    T* v = nullptr;
    std::vector<double> s;
    Sketch<T> sketch(context, args, a, scaled);
    int64_t stored = width;
    if (width >= least) {
      PALIMPSEST_TRY(exact(context, a, u, v, s));
      stored = least;
    } else {
      PALIMPSEST_TRY(sketch.run(width, u, v));
      if (!sketch.in_range()) {
        PALIMPSEST_TRY(check_finite(context, a, "randomizedSvd"));
        PALIMPSEST_TRY(rescale());
        continue;
      }
      PALIMPSEST_TRY(sketch.finish(u, v, s));
    }
    found = rank;
    if (args.tolerance > 0) {
      const double all = sketch.squares();
      const double allowed = args.tolerance * args.tolerance * all;
      double left = all;
      found = 0;
      while (found < wanted && left > allowed) {
        const double value = s[static_cast<size_t>(found++)];
        left -= value * value;
      }
      if (left > allowed && wanted < rank) {
        wanted = std::min(rank, 2 * wanted);
        continue;
      }
      if (stored < rank) {
        // Fewer columns were looked at than the outputs hold; the rest is zero.
        T* const wide_u = context.workspace.take<T>(m * rank);
        T* const wide_v = context.workspace.take<T>(n * rank);
        const auto widen = [&](const T* from, T* to, int64_t rows) {
          for (int64_t i = 0; i < rows; ++i) {
            std::copy(from + i * stored, from + (i + 1) * stored, to + i * rank);
            std::fill(to + i * rank + stored, to + (i + 1) * rank, T(0));
          }
        };
        widen(u, wide_u, m);
        widen(v, wide_v, n);
        u = wide_u;
        v = wide_v;
        stored = rank;
      }
    }
    return write(context, args, u, v, stored, s, scale, found);
  }
}

}  // namespace

Status randomized_svd(Context& context, const RandomizedSvdArgs& args, int64_t& found) {
  found = 0;
  if (args.a.rows == 0 || args.a.cols == 0) return {};
  if (args.rank < 1 || args.oversamples < 0 || args.power_iterations < 0) {
    return {Code::argument, "randomizedSvd: 'rank' must be positive, the other counts not negative"};
  }
  if (context.access != nullptr) return randomized_svd_on_device(context, args, found);
  return PALIMPSEST_BY_DTYPE(args.a.dtype, randomized_of)(context, args, found);
}

}  // namespace palimpsest
