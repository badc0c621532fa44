// Panels are made, multiplied and turned where the matrix is; only matrices as wide as the panel come to
// the host, whose own kernels factorize them (a Gram matrix of 96 × 96 is 73 kB). A panel that is too near
// rank deficiency for Cholesky's method comes to the host whole. Floor: A read 2q + 2 times.

#include "ops/device_svd.h"

#include <vector>

#include "ops/factor.h"
#include "palimpsest/ops/decompositions.h"

namespace palimpsest {
namespace {

int64_t panel_width(const RandomizedSvdArgs& args) {
  const int64_t rank = std::min({args.rank, args.a.rows, args.a.cols});
  return (rank + args.oversamples + kPanelUnit - 1) / kPanelUnit * kPanelUnit;
}

// What the host factorizes with.
class Host {
 public:
  Host() : context(cpu_kernels(cpu_level()), workspace_, 1) {}

 private:
  Workspace workspace_;

 public:
  Context context;
};

template <typename T>
class DeviceSketch {
 public:
  DeviceSketch(Context& context, const RandomizedSvdArgs& args)
      : context_(context), args_(args), a_(args.a), m_(args.a.rows), n_(args.a.cols), width_(panel_width(args)),
        rank_(std::min({args.rank, m_, n_})) {}

  Status run() {
    const Workspace::Scope scope(context_.workspace);
    q_ = context_.workspace.take<T>(m_ * width_);
    b_ = context_.workspace.take<T>(n_ * width_);
    g_ = context_.workspace.take<double>(width_ * width_);
    small_ = context_.workspace.take<T>(width_ * width_);
    bool in_range = false;
    PALIMPSEST_TRY(start(in_range));
    if (!in_range) {
      PALIMPSEST_TRY(rescale());
      PALIMPSEST_TRY(start(in_range));
    }
    for (int64_t i = 0; i < args_.power_iterations; ++i) {
      if (args_.normalize) PALIMPSEST_TRY(orthonormalize(q_, m_, 1));
      PALIMPSEST_TRY(product(false, q_, b_));
      if (args_.normalize) PALIMPSEST_TRY(orthonormalize(b_, n_, 1));
      PALIMPSEST_TRY(product(true, b_, q_));
    }
    PALIMPSEST_TRY(orthonormalize(q_, m_, 2));
    PALIMPSEST_TRY(product(false, q_, b_));
    return finish();
  }

 private:
  Status start(bool& in_range) {
    PALIMPSEST_TRY(context_.kernels.random.normal(context_, {args_.seed, 0, dtype_of<T>, n_ * width_, b_, 0, 1}));
    PALIMPSEST_TRY(product(true, b_, q_));
    double size = 0;
    PALIMPSEST_TRY(magnitude(contiguous_view(q_, {m_, width_}), size));
    const double limit = sizeof(T) == 4 ? 1e15 : 1e120;
    in_range = size < limit && size > 1 / limit;
    return {};
  }

  // The largest magnitude; NaN where there is one.
  Status magnitude(const View& x, double& size) {
    const Workspace::Scope scope(context_.workspace);
    T* const numbers = context_.workspace.template take<T>(2);
    for (int i = 0; i < 2; ++i) {
      PALIMPSEST_TRY(context_.kernels.reduce.reduce(
          context_, {i == 0 ? Reduction::max : Reduction::min, contiguous_view(numbers + i, {1, 1}), x, 0b11}));
    }
    T ends[2];
    PALIMPSEST_TRY(context_.read_bytes(ends, numbers, sizeof(ends)));
    size = std::isnan(ends[0]) || std::isnan(ends[1]) ? std::nan("") : std::max<double>(ends[0], -ends[1]);
    return {};
  }

  // A copy of A with a largest entry near 1 takes its place, for the sake of squares.
  Status rescale() {
    bool finite = false;
    PALIMPSEST_TRY(context_.kernels.reduce.all_finite(context_, view_of(a_), finite));
    if (!finite) return {Code::numerical, "randomizedSvd: 'a' holds NaN or Inf"};
    double size = 0;
    PALIMPSEST_TRY(magnitude(view_of(a_), size));
    if (size == 0) return {};
    // In two steps, each a power of two in T's range.
    const int exponent = -std::ilogb(size);
    const Matrix own = row_major(context_.workspace.template take<T>(m_ * n_), m_, n_);
    PALIMPSEST_TRY(context_.kernels.elementwise.binary(
        context_, {Binary::mul, view_of(own), view_of(a_), {}, std::ldexp(1.0, exponent / 2)}));
    PALIMPSEST_TRY(context_.kernels.elementwise.binary(
        context_, {Binary::mul, view_of(own), view_of(own), {}, std::ldexp(1.0, exponent - exponent / 2)}));
    exponent_ = exponent;
    a_ = own;
    return {};
  }

  // to = A·from, or Aᵀ·from.
  Status product(bool forward, const T* from, T* to) {
    if (context_.aborted()) return {Code::aborted, "aborted"};
    const PanelKernels<T>& kernels = panel_kernels<T>(context_);
    const T* a = static_cast<const T*>(a_.data);
    const bool rows = a_.col_stride == 1;
    if (rows == forward) {
      kernels.multiply(context_, a, rows ? a_.row_stride : a_.col_stride, rows ? m_ : n_, rows ? n_ : m_, from, width_, to);
    } else {
      kernels.multiply_transposed(context_, a, rows ? a_.row_stride : a_.col_stride, rows ? m_ : n_, rows ? n_ : m_, from,
                                  width_, to);
    }
    return {};
  }

  Status turn(T* y, int64_t rows, const T* factor) {
    PALIMPSEST_TRY(context_.write_bytes(small_, factor, static_cast<size_t>(width_ * width_) * sizeof(T)));
    panel_kernels<T>(context_).transform(context_, y, rows, width_, small_);
    return {};
  }

  // y ← an orthonormal basis of its range; r_ is multiplied from the left by the factor of y_before = y·R.
  Status orthonormalize(T* y, int64_t rows, int passes) {
    const auto size = static_cast<size_t>(width_ * width_);
    r_.assign(size, 0);
    for (int64_t i = 0; i < width_; ++i) r_[static_cast<size_t>(i * (width_ + 1))] = 1;
    for (int pass = 0; pass < passes; ++pass) {
      std::vector<double> g(size);
      panel_kernels<T>(context_).gram(context_, y, rows, width_, g_);
      PALIMPSEST_TRY(context_.read_bytes(g.data(), g_, size * sizeof(double)));
      std::vector<double> upper;
      if (!cholesky(g, upper)) return by_reflections(y, rows);
      std::vector<double> inverse = inverted(upper);
      const std::vector<T> factor(inverse.begin(), inverse.end());
      PALIMPSEST_TRY(turn(y, rows, factor.data()));
      prepend(upper.data());
    }
    return {};
  }

  // g = upperᵀ·upper by way of unit diagonals; false where a pivot is too small to be trusted.
  bool cholesky(std::vector<double>& g, std::vector<double>& upper) const {
    const double least = sizeof(T) == 4 ? 1e-11 : 1e-9;
    const auto w = static_cast<size_t>(width_);
    std::vector<double> scale(w);
    for (size_t i = 0; i < w; ++i) {
      const double square = g[i * w + i];
      if (!(square > 0) || !std::isfinite(square)) return false;
      scale[i] = std::sqrt(square);
    }
    upper.assign(w * w, 0);
    for (size_t i = 0; i < w; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = g[i * w + j] / (scale[i] * scale[j]);
        for (size_t k = 0; k < j; ++k) sum -= g[i * w + k] * g[j * w + k];
        if (i == j && !(sum > least)) return false;
        g[i * w + j] = i == j ? std::sqrt(sum) : sum / g[j * w + j];
        upper[j * w + i] = g[i * w + j] * scale[i];
      }
    }
    return true;
  }

  std::vector<double> inverted(const std::vector<double>& upper) const {
    const auto w = static_cast<size_t>(width_);
    std::vector<double> inverse(w * w, 0);
    for (size_t i = w; i-- > 0;) {
      double* row = inverse.data() + i * w;
      row[i] = 1;
      for (size_t k = i + 1; k < w; ++k) {
        const double factor = upper[i * w + k];
        for (size_t j = k; j < w; ++j) row[j] -= factor * inverse[k * w + j];
      }
      for (size_t j = i; j < w; ++j) row[j] /= upper[i * w + i];
    }
    return inverse;
  }

  // r_ ← factor·r_.
  void prepend(const double* factor) {
    const auto w = static_cast<size_t>(width_);
    std::vector<double> result(w * w, 0);
    for (size_t i = 0; i < w; ++i) {
      for (size_t k = 0; k < w; ++k) {
        const double x = factor[i * w + k];
        if (x == 0) continue;
        for (size_t j = 0; j < w; ++j) result[i * w + j] += x * r_[k * w + j];
      }
    }
    r_.swap(result);
  }

  Status by_reflections(T* y, int64_t rows) {
    const auto count = static_cast<size_t>(rows * width_);
    std::vector<T> before(count);
    std::vector<T> after(count);
    std::vector<T> upper(static_cast<size_t>(width_ * width_));
    PALIMPSEST_TRY(context_.read_bytes(before.data(), y, count * sizeof(T)));
    PALIMPSEST_TRY(qr(host_.context, row_major(before.data(), rows, width_), row_major(after.data(), rows, width_),
                      row_major(upper.data(), width_, width_)));
    PALIMPSEST_TRY(context_.write_bytes(y, after.data(), count * sizeof(T)));
    const std::vector<double> factor(upper.begin(), upper.end());
    prepend(factor.data());
    return {};
  }

  // b = x·R, R = Ur·diag(s)·Vrᵀ: u = q·Vr, v = x·Ur.
  Status finish() {
    const auto w = static_cast<size_t>(width_);
    PALIMPSEST_TRY(orthonormalize(b_, n_, 2));
    std::vector<double> u(w * w);
    std::vector<double> vt(w * w);
    std::vector<double> s(w);
    PALIMPSEST_TRY(svd(host_.context, row_major(r_.data(), width_, width_), row_major(u.data(), width_, width_), s.data(),
                       row_major(vt.data(), width_, width_)));
    std::vector<T> left(w * w);
    std::vector<T> right(w * w);
    for (size_t i = 0; i < w; ++i) {
      for (size_t j = 0; j < w; ++j) {
        left[i * w + j] = static_cast<T>(vt[j * w + i]);
        right[i * w + j] = static_cast<T>(u[i * w + j]);
      }
    }
    PALIMPSEST_TRY(turn(q_, m_, left.data()));
    PALIMPSEST_TRY(turn(b_, n_, right.data()));
    std::vector<T> values(static_cast<size_t>(rank_));
    for (size_t j = 0; j < values.size(); ++j) values[j] = static_cast<T>(std::ldexp(s[j], -exponent_));
    PALIMPSEST_TRY(context_.write_bytes(args_.s, values.data(), values.size() * sizeof(T)));
    return write();
  }

  // Signs as svd's: the entry of u's column that is largest in magnitude is positive.
  Status write() {
    const Workspace::Scope scope(context_.workspace);
    const View columns = view_of(strided(q_, m_, rank_, width_));
    T* const ends = context_.workspace.template take<T>(2 * rank_);
    for (int i = 0; i < 2; ++i) {
      PALIMPSEST_TRY(context_.kernels.reduce.reduce(
          context_, {i == 0 ? Reduction::max : Reduction::min, contiguous_view(ends + i * rank_, {1, rank_}), columns, 0b01}));
    }
    std::vector<T> found(static_cast<size_t>(2 * rank_));
    PALIMPSEST_TRY(context_.read_bytes(found.data(), ends, found.size() * sizeof(T)));
    for (size_t j = 0; j < static_cast<size_t>(rank_); ++j) {
      found[j] = found[j] < -found[j + static_cast<size_t>(rank_)] ? T(-1) : T(1);
    }
    PALIMPSEST_TRY(context_.write_bytes(ends, found.data(), static_cast<size_t>(rank_) * sizeof(T)));
    const auto signs_over = [&](int64_t rows) {
      View signs = contiguous_view(ends, {rows, rank_});
      signs.strides[0] = 0;
      signs.strides[1] = 1;
      return signs;
    };
    PALIMPSEST_TRY(context_.kernels.elementwise.binary(
        context_, {Binary::mul, view_of(args_.u), columns, signs_over(m_)}));
    return context_.kernels.elementwise.binary(
        context_, {Binary::mul, view_of(args_.vt.transposed()), view_of(strided(b_, n_, rank_, width_)), signs_over(n_)});
  }

  Context& context_;
  const RandomizedSvdArgs& args_;
  Matrix a_;
  int64_t m_, n_, width_, rank_;
  int exponent_ = 0;  // a_ is A times 2^exponent_
  T* q_ = nullptr;
  T* b_ = nullptr;
  double* g_ = nullptr;
  T* small_ = nullptr;
  std::vector<double> r_;
  Host host_;
};

template <typename T>
Status on_device(Context& context, const RandomizedSvdArgs& args) {
  return DeviceSketch<T>(context, args).run();
}

}  // namespace

bool takes_device_matrices(const RandomizedSvdArgs& args) {
  const int64_t width = panel_width(args);
  return args.method == RangeFinder::power && args.tolerance == 0 && width <= kPanelWidth &&
         width < std::min(args.a.rows, args.a.cols) && (args.a.col_stride == 1 || args.a.row_stride == 1);
}

Status randomized_svd_on_device(Context& context, const RandomizedSvdArgs& args, int64_t& found) {
  if (!takes_device_matrices(args)) {
    return {Code::device, "randomizedSvd: these options are for the CPU: bring 'a' there with to('cpu')"};
  }
  found = std::min({args.rank, args.a.rows, args.a.cols});
  return PALIMPSEST_BY_DTYPE(args.a.dtype, on_device)(context, args);
}

}  // namespace palimpsest
