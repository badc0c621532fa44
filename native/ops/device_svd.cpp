// All of it stays where the matrix is, the factors of Gram matrices and the small SVD too; two numbers
// come to the host: whether squares are in range, and whether a panel was too near rank deficiency for
// Cholesky's method. Then all is done once more, and each panel is asked and goes through reflections
// where it must. Floor: A read 2q + 2 times.

#include "ops/device_svd.h"

#include "ops/device_factor.h"
#include "ops/factor.h"

namespace palimpsest {
namespace {

int64_t panel_width(const RandomizedSvdArgs& args) {
  const int64_t rank = std::min({args.rank, args.a.rows, args.a.cols});
  return (rank + args.oversamples + kPanelUnit - 1) / kPanelUnit * kPanelUnit;
}

template <typename T>
class DeviceSketch {
 public:
  DeviceSketch(Context& context, const RandomizedSvdArgs& args)
      : context_(context), args_(args), a_(args.a), m_(args.a.rows), n_(args.a.cols), width_(panel_width(args)),
        rank_(std::min({args.rank, m_, n_})) {}

  Status run() {
    bool failed = false;
    PALIMPSEST_TRY(attempt(failed));
    if (!failed) return {};
    careful_ = true;
    return attempt(failed);
  }

 private:
  // `failed`: nothing was written, because a panel was nearly rank deficient.
  Status attempt(bool& failed) {
    const Workspace::Scope scope(context_.workspace);
    a_ = args_.a;
    exponent_ = 0;
    q_ = context_.workspace.take<T>(m_ * width_);
    b_ = context_.workspace.take<T>(n_ * width_);
    small_ = context_.workspace.take<T>(width_ * width_);
    failed_ = context_.workspace.take<int32_t>(1);
    for (double** each : {&g_, &uppers_[0], &uppers_[1], &r_}) *each = context_.workspace.take<double>(width_ * width_);
    int32_t flag = 0;
    PALIMPSEST_TRY(context_.write_bytes(failed_, &flag, sizeof(flag)));
    bool in_range = false;
    PALIMPSEST_TRY(start(in_range));
    if (!in_range) {
      PALIMPSEST_TRY(rescale());
      PALIMPSEST_TRY(start(in_range));
    }
    const bool normalizes = args_.normalizer == Normalizer::qr;
    for (int64_t i = 0; i < args_.power_iterations; ++i) {
      if (normalizes) PALIMPSEST_TRY(orthonormalize(q_, m_, 1));
      PALIMPSEST_TRY(product(false, q_, b_));
      if (normalizes) PALIMPSEST_TRY(orthonormalize(b_, n_, 1));
      PALIMPSEST_TRY(product(true, b_, q_));
    }
    PALIMPSEST_TRY(orthonormalize(q_, m_, 2));
    PALIMPSEST_TRY(product(false, q_, b_));
    PALIMPSEST_TRY(orthonormalize(b_, n_, 2));
    PALIMPSEST_TRY(context_.read(flag, failed_));
    failed = flag != 0;
    return failed ? Status() : finish();
  }

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

  Matrix square(double* data) const { return row_major(data, width_, width_); }

  // y ← y·w, w rounded to T.
  Status turn(T* y, int64_t rows, const Matrix& w) {
    PALIMPSEST_TRY(copy(context_, w, row_major(small_, width_, width_)));
    panel_kernels<T>(context_).transform(context_, y, rows, width_, small_);
    return {};
  }

  // y ← an orthonormal basis of its range; r_, with y_before = y·R.
  Status orthonormalize(T* y, int64_t rows, int passes) {
    const double least = sizeof(T) == 4 ? 1e-11 : 1e-9;
    int pass = 0;
    for (bool more = true; more && pass < passes; ++pass) {
      panel_kernels<T>(context_).gram(context_, y, rows, width_, g_);
      dense_kernels<T>(context_).gram_factor(context_, g_, width_, least, uppers_[pass], small_, failed_);
      int32_t flag = 0;
      if (careful_) PALIMPSEST_TRY(context_.read(flag, failed_));
      more = flag == 0;
      if (more) {
        panel_kernels<T>(context_).transform(context_, y, rows, width_, small_);
      } else {
        PALIMPSEST_TRY(by_reflections(y, rows, uppers_[pass]));
        flag = 0;
        PALIMPSEST_TRY(context_.write_bytes(failed_, &flag, sizeof(flag)));
      }
    }
    if (passes == 1) return {};
    if (pass == 1) return copy(context_, square(uppers_[0]), square(r_));
    return palimpsest::product(context_, square(uppers_[1]), square(uppers_[0]), square(r_));
  }

  Status by_reflections(T* y, int64_t rows, double* upper) {
    const Workspace::Scope scope(context_.workspace);
    const Matrix own = row_major(y, rows, width_);
    const Matrix r = row_major(context_.workspace.template take<T>(width_ * width_), width_, width_);
    PALIMPSEST_TRY(qr_on_device<T>(context_, own, own, r));
    return copy(context_, r, square(upper));
  }

  // b = x·R, R = Ur·diag(s)·Vrᵀ: u = q·Vr, v = x·Ur.
  Status finish() {
    const Workspace::Scope scope(context_.workspace);
    double* const u = context_.workspace.template take<double>(width_ * width_);
    double* const vt = context_.workspace.template take<double>(width_ * width_);
    double* const s = context_.workspace.template take<double>(width_);
    PALIMPSEST_TRY(svd_on_device<double>(context_, square(r_), square(u), s, square(vt)));
    PALIMPSEST_TRY(turn(q_, m_, square(vt).transposed()));
    PALIMPSEST_TRY(turn(b_, n_, square(u)));
    View values = contiguous_view(s, {rank_});
    for (const int power : {-exponent_ / 2, -exponent_ + exponent_ / 2}) {
      if (power == 0) continue;
      PALIMPSEST_TRY(context_.kernels.elementwise.binary(context_, {Binary::mul, values, values, {}, std::ldexp(1.0, power)}));
    }
    PALIMPSEST_TRY(context_.kernels.elementwise.unary(
        context_, {Unary::copy, contiguous_view(static_cast<T*>(args_.s), {rank_}), values}));
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
    // 1 where the largest is as far from 0 as the smallest or farther, else −1.
    const View signs = contiguous_view(ends, {1, rank_});
    const auto& elementwise = context_.kernels.elementwise;
    PALIMPSEST_TRY(elementwise.binary(context_, {Binary::add, signs, signs, contiguous_view(ends + rank_, {1, rank_})}));
    PALIMPSEST_TRY(elementwise.binary(context_, {Binary::lt, signs, signs, {}, 0}));
    PALIMPSEST_TRY(elementwise.binary(context_, {Binary::mul, signs, signs, {}, -2}));
    PALIMPSEST_TRY(elementwise.binary(context_, {Binary::add, signs, signs, {}, 1}));
    const auto signs_over = [&](int64_t rows) {
      View all = contiguous_view(ends, {rows, rank_});
      all.strides[0] = 0;
      return all;
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
  T* small_ = nullptr;
  double* g_ = nullptr;
  double* uppers_[2] = {};
  double* r_ = nullptr;
  int32_t* failed_ = nullptr;  // on the device
  bool careful_ = false;
};

template <typename T>
Status on_device(Context& context, const RandomizedSvdArgs& args) {
  return DeviceSketch<T>(context, args).run();
}

}  // namespace

bool takes_device_matrices(const RandomizedSvdArgs& args) {
  const int64_t width = panel_width(args);
  return args.method == RangeFinder::power && args.normalizer != Normalizer::lu && args.tolerance == 0 &&
         width <= kPanelWidth && width < std::min(args.a.rows, args.a.cols) && (args.a.col_stride == 1 || args.a.row_stride == 1);
}

Status randomized_svd_on_device(Context& context, const RandomizedSvdArgs& args, int64_t& found) {
  if (!takes_device_matrices(args)) {
    return {Code::device, "randomizedSvd: these options are for the CPU: bring 'a' there with to('cpu')"};
  }
  found = std::min({args.rank, args.a.rows, args.a.cols});
  return PALIMPSEST_BY_DTYPE(args.a.dtype, on_device)(context, args);
}

}  // namespace palimpsest
