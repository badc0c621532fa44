// Floor, for m ≤ n, a step of the direct form: 3m²n + m³ FLOPs with both symmetric products halved
// (2m²n of them in the last product). The Gram form costs 6m²n for two segments of steps and
// 1 to 4 times m³ a step, 14 for five, and pays where n is well above m: 38m³ in place of 65 for n = 4m.
//
// Precision of the Gram form. An error of R's small eigenvalues grows twelvefold with every R ← WRW,
// W = aI + bR + cR²; to W itself it does nothing, since a outweighs it. So every three steps X is multiplied
// by Q, the product of all W, and R computed anew (the restart of Gram Newton–Schulz, Dao-AILab 2026), and
// the longer segment comes first: 3 + 2 steps are as exact as the direct form where 2 + 3 are four times
// less so. An error that R's diagonal has in common acts on all singular values alike, where others average
// out: rounding to bfloat16 made it. So R, W and Q, all kept in float32, are a multiple of I, which goes
// into the products' beta, and a rest with a diagonal of mean 0, which is rounded. With both,
// every product may round its factors to bfloat16. Measured, relative to float64, 512 × 2048, random |
// singular values falling to 1e-4 | of rank m/4: 0.004 | 0.051 | 0.087, torch's direct bfloat16 0.012 |
// 0.074 | 0.133, rounding x alone 0.002 | 0.039 | 0.069; uncentred 0.022 | 0.056 | 0.093. R of a longer run
// as Q·(R₀·Q) in place of the restart needs more than 16 bits of fraction: it diverges.
// Where five steps at 1024 × 4096 in bfloat16 spend 41 ms on two cores with AMX, in brackets what each would
// take at the 2.2 TFLOP/s of a plain product of 1024³: rounding x 0.8, two Gram matrices of X 6.5 [4.0],
// fourteen products of R, W and Q 18.6 [6.8], two products with X 10.9 [7.8]; the rest is waiting for memory
// between them. Of one of the fourteen, 1.33 ms, packing both float32 operands is 0.4 and the mirrored half
// as much: a symmetric product of 1024³ takes nine tenths of a whole one. Rounding R and W once to
// bfloat16 for all their products gains nothing.
// A device that does not take betas has its products of R, W and Q in float32, uncentred.
//
// x is neither copied nor scaled first: the first Gram matrix is that of x itself, its trace is ‖x‖²,
// and the scale goes into the first product. Only where that is not safe (x far from 1, or not finite)
// a pass over x finds the largest entry, and a scaled copy takes x's place.

#include "palimpsest/ops/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

View as_view(const Matrix& m, int64_t batch) {
  View view;
  view.data = m.data;
  view.dtype = m.dtype;
  view.rank = 3;
  view.shape[0] = batch;
  view.shape[1] = m.rows;
  view.shape[2] = m.cols;
  view.strides[0] = m.batch_stride;
  view.strides[1] = m.row_stride;
  view.strides[2] = m.col_stride;
  return view;
}

View one_of(const Matrix& m, int64_t index) {
  View view = as_view(m, 1);
  view.data = static_cast<std::byte*>(m.data) +
              index * m.batch_stride * static_cast<int64_t>(size_of(m.dtype));
  return view;
}

class Iteration {
 public:
  Iteration(Context& context, const NewtonSchulzArgs& args)
      : context_(context),
        args_(args),
        tall_(args.x.rows > args.x.cols),
        m_(std::min(args.x.rows, args.x.cols)),
        n_(std::max(args.x.rows, args.x.cols)),
        dtype_(args.compute == Compute::bf16 ? DType::bf16 : DType::f32) {}

  Status run() {
    const Workspace::Scope scope(context_.workspace);
    scales_.assign(static_cast<size_t>(args_.batch), 1.0);
    const bool bf16 = args_.compute == Compute::bf16;
    x_ = args_.x;
    if (args_.step_count == 0) {
      PALIMPSEST_TRY(take_scaled_copy());
      return copy(args_.out, x_);
    }
    gram_ = take(DType::f32, m_, m_);
    bool safe = context_.kernels.gemm.takes_scales && args_.eps <= 1e-6 &&
                (x_.dtype == DType::f32 || (bf16 && x_.dtype == DType::bf16));
    if (safe) {
      if (bf16 && x_.dtype == DType::f32 && choose_gram()) {
        // Rounded once instead of in every product with it.
        x_ = take(DType::bf16, args_.x.rows, args_.x.cols);
        PALIMPSEST_TRY(copy(x_, args_.x));
      }
      unscaled_ = x_.data;
      PALIMPSEST_TRY(gram_of(x_, gram_));
      PALIMPSEST_TRY(scale_gram(safe));
    }
    if (!safe) {
      PALIMPSEST_TRY(take_scaled_copy());
      PALIMPSEST_TRY(gram_of(x_, gram_));
    }
    PALIMPSEST_TRY(refine_scale());
    // The last product goes straight to `out`, unless it reads it.
    const bool aliased = x_.data == args_.x.data && segments() == 1 &&
                         (args_.step_count == 1 || choose_gram());
    const Matrix result = aliased ? take(args_.out.dtype, x_.rows, x_.cols) : args_.out;
    PALIMPSEST_TRY(choose_gram() ? gram(result) : direct(result));
    return aliased ? copy(args_.out, result) : Status();
  }

 private:
  Matrix take(DType dtype, int64_t rows, int64_t cols) {
    void* data = context_.workspace.take_bytes(static_cast<size_t>(args_.batch * rows * cols) *
                                               size_of(dtype));
    return {data, dtype, rows, cols, cols, 1, rows * cols};
  }

  Status copy(const Matrix& to, const Matrix& from) {
    return context_.kernels.elementwise.unary(
        context_, {Unary::copy, as_view(to, args_.batch), as_view(from, args_.batch)});
  }

  Status take_scaled_copy() {
    unscaled_ = nullptr;
    x_ = take(dtype_, args_.x.rows, args_.x.cols);
    std::fill(scales_.begin(), scales_.end(), 1.0);
    return normalise();
  }

  // ‖x‖² of each matrix from the trace of its Gram matrix, which is brought to that of x / ‖x‖;
  // unsafe where squares may have over- or underflown.
  Status scale_gram(bool& safe) {
    for (int64_t i = 0; i < args_.batch; ++i) {
      View diagonal = one_of(gram_, i);
      diagonal.shape[1] = 1;
      diagonal.strides[2] = m_ + 1;
      double squares = 0;
      PALIMPSEST_TRY(reduce_to_number(Reduction::sum, diagonal, squares));
      if (!(squares > 1e-16 && squares < 1e16)) {
        safe = false;
        return {};
      }
      scales_[static_cast<size_t>(i)] = 1 / (std::sqrt(squares) * args_.norm_factor);
    }
    for (int64_t i = 0; i < args_.batch; ++i) {
      const double scale = scales_[static_cast<size_t>(i)];
      const View one = one_of(gram_, i);
      PALIMPSEST_TRY(
          context_.kernels.elementwise.binary(context_, {Binary::mul, one, one, {}, scale * scale}));
    }
    return {};
  }

  // From x / ‖x‖ to the other normalizations.
  Status refine_scale() {
    if (args_.normalization == Normalization::gelfand) return bound_by_square();
    return args_.normalization == Normalization::aol ? precondition() : Status();
  }

  // ‖R²‖_F bounds λ², and R has norm_factor in it already.
  Status bound_by_square() {
    const Workspace::Scope scope(context_.workspace);
    const int64_t count = args_.batch;
    const auto& kernels = context_.kernels.elementwise;
    const Matrix square = take(DType::f32, m_, m_);
    PALIMPSEST_TRY(multiply(gram_, gram_, square, {.symmetric = true}));
    auto* const factors = context_.workspace.take<float>(count);
    const View each = contiguous_view(factors, {count, 1, 1});
    PALIMPSEST_TRY(context_.kernels.reduce.reduce(
        context_, {Reduction::sum_of_squares, each, as_view(square, count), 0b110}));
    PALIMPSEST_TRY(kernels.binary(context_, {Binary::maximum, each, each, {}, 1e-30}));
    PALIMPSEST_TRY(kernels.binary(context_, {Binary::pow, each, each, {}, -0.125}));
    PALIMPSEST_TRY(kernels.binary(context_, {Binary::mul, each, each, {}, 1 / args_.norm_factor}));
    const auto multiply_by_factor = [&](const Matrix& m) {
      View factor = each;
      factor.shape[1] = m.rows;
      factor.shape[2] = m.cols;
      factor.strides[1] = factor.strides[2] = 0;
      const View all = as_view(m, count);
      return kernels.binary(context_, {Binary::mul, all, all, factor});
    };
    PALIMPSEST_TRY(multiply_by_factor(gram_));
    PALIMPSEST_TRY(multiply_by_factor(gram_));
    if (!context_.kernels.gemm.takes_scales) return multiply_by_factor(x_);
    for (int64_t i = 0; i < count; ++i) {
      float factor = 0;
      PALIMPSEST_TRY(context_.read(factor, factors + i));
      scales_[static_cast<size_t>(i)] *= factor;
    }
    unscaled_ = x_.data;
    return {};
  }

  // D·X and D·R·D. A row of zeros stays one.
  Status precondition() {
    const Matrix scaled = x_.data == args_.x.data ? take(dtype_, x_.rows, x_.cols) : x_;
    const Workspace::Scope scope(context_.workspace);
    const int64_t count = args_.batch;
    auto* const factors = context_.workspace.take<float>(count * m_);
    View column = contiguous_view(factors, {count, m_, 1});
    const auto& kernels = context_.kernels.elementwise;
    PALIMPSEST_TRY(context_.kernels.reduce.reduce(
        context_, {Reduction::sum_of_magnitudes, column, as_view(gram_, count), 0b100}));
    PALIMPSEST_TRY(kernels.binary(context_, {Binary::maximum, column, column, {}, 1e-30}));
    PALIMPSEST_TRY(kernels.unary(context_, {Unary::rsqrt, column, column}));
    PALIMPSEST_TRY(kernels.binary(context_, {Binary::mul, column, column, {}, 1 / args_.norm_factor}));
    const auto multiply_by = [&](const Matrix& to, const Matrix& from, bool rows) {
      View view = column;
      view.shape[1] = from.rows;
      view.shape[2] = from.cols;
      view.strides[rows ? 2 : 1] = 0;
      view.strides[rows ? 1 : 2] = 1;
      return kernels.binary(context_, {Binary::mul, as_view(to, count), as_view(from, count), view});
    };
    PALIMPSEST_TRY(multiply_by(gram_, gram_, true));
    PALIMPSEST_TRY(multiply_by(gram_, gram_, false));
    PALIMPSEST_TRY(multiply_by(scaled, x_, !tall_));
    if (unscaled_ != nullptr) unscaled_ = scaled.data;
    x_ = scaled;
    return {};
  }

  // One number of a matrix, of its dtype.
  Status reduce_to_number(Reduction op, const View& x, double& result) {
    const Workspace::Scope scope(context_.workspace);
    double* number = context_.workspace.take<double>(1);
    View out = contiguous_view(number, {1, 1, 1});
    out.dtype = x.dtype;
    PALIMPSEST_TRY(context_.kernels.reduce.reduce(context_, {op, out, x, 0b111}));
    if (x.dtype == DType::f64) return context_.read(result, number);
    if (x.dtype == DType::f32) {
      float value = 0;
      PALIMPSEST_TRY(context_.read(value, out.as<const float>()));
      result = value;
    } else {
      BFloat16 value{};
      PALIMPSEST_TRY(context_.read(value, out.as<const BFloat16>()));
      result = to_float(value);
    }
    return {};
  }

  // The largest magnitude of one matrix; NaN if there is one.
  Status magnitude(const View& x, double& largest) {
    double top = 0;
    double bottom = 0;
    PALIMPSEST_TRY(reduce_to_number(Reduction::max, x, top));
    PALIMPSEST_TRY(reduce_to_number(Reduction::min, x, bottom));
    largest = std::isnan(top) || std::isnan(bottom) ? std::nan("") : std::max(top, -bottom);
    return {};
  }

  // x_ ← x / ‖x‖, matrix by matrix. x is brought to a largest entry near 1 first, so that squares
  // neither overflow nor vanish.
  Status normalise() {
    const Workspace::Scope scope(context_.workspace);
    if (context_.kernels.norm.unit != nullptr && args_.x.dtype != DType::f64) return normalise_at_once();
    Matrix scaled = take(DType::f32, args_.x.rows, args_.x.cols);
    for (int64_t i = 0; i < args_.batch; ++i) {
      const View source = one_of(args_.x, i);
      double largest = 0;
      PALIMPSEST_TRY(magnitude(source, largest));
      if (!std::isfinite(largest) && !args_.allow_nonfinite) {
        return {Code::numerical, "orthogonalize: 'x' holds NaN or Inf"};
      }
      const View target = one_of(x_, i);
      if (largest == 0) {
        PALIMPSEST_TRY(context_.kernels.elementwise.binary(
            context_, {Binary::mul, target, source, {}, 0.0}));
        continue;
      }
      const bool moderate = source.dtype != DType::f64 && largest > 1e-15 && largest < 1e15;
      View from = source;
      double scale = 1;
      if (!moderate) {
        scale = source.dtype == DType::f64 ? 1 / largest : std::min(1 / largest, 1e37);
        from = one_of(scaled, i);
        PALIMPSEST_TRY(context_.kernels.elementwise.binary(
            context_, {Binary::mul, from, source, {}, scale}));
      }
      double squares = 0;
      PALIMPSEST_TRY(reduce_to_number(Reduction::sum_of_squares, from, squares));
      const double unit = moderate ? largest : 1.0;
      const double norm = (std::sqrt(squares) / unit + args_.eps) * unit * args_.norm_factor;
      PALIMPSEST_TRY(context_.kernels.elementwise.binary(
          context_, {Binary::mul, target, from, {}, 1 / norm}));
    }
    return {};
  }

  // By one kernel for the whole batch: nothing waits for the device but the look at NaN, if that is asked for.
  Status normalise_at_once() {
    int32_t* const strange = args_.allow_nonfinite ? nullptr : context_.workspace.take<int32_t>(1);
    int32_t found = 0;
    if (strange != nullptr) PALIMPSEST_TRY(context_.write_bytes(strange, &found, sizeof(found)));
    PALIMPSEST_TRY(context_.kernels.norm.unit(
        context_, {args_.x, x_, args_.batch, args_.eps, args_.norm_factor, strange}));
    if (strange != nullptr) PALIMPSEST_TRY(context_.read(found, strange));
    return found == 0 ? Status() : Status(Code::numerical, "orthogonalize: 'x' holds NaN or Inf");
  }

  int segments() const { return (args_.step_count + 2) / 3; }

  bool choose_gram() const {
    if (args_.method != NewtonSchulzMethod::automatic) {
      return args_.method == NewtonSchulzMethod::gram;
    }
    const double m = static_cast<double>(m_);
    const double n = static_cast<double>(n_);
    const double k = args_.step_count;
    const double s = segments();
    const double direct = k * (3 * m * m * n + m * m * m);
    // A step has R² and, if another follows in its segment, W·R and W·(R·W); all but a segment's first
    // have Q·W. In a bfloat16 iteration these cost more than the products with X.
    const double wide = args_.compute == Compute::bf16 ? 2 : 1;
    const double gram = 3 * s * m * m * n + wide * (k + 3 * (k - s)) * m * m * m;
    return gram < 0.95 * direct;
  }

  // d = scale·(alpha·a·b + beta·c), symmetric where told.
  struct Product {
    bool symmetric = false;
    double alpha = 1;
    const Matrix* c = nullptr;
    double beta = 0;
    const double* betas = nullptr;  // one a matrix in place of beta
    const double* scales = nullptr;
    bool exact = false;  // factors of a bfloat16 iteration are not to be rounded
  };
  Status multiply(const Matrix& a, const Matrix& b, const Matrix& d, const Product& how) {
    if (context_.aborted()) return {Code::aborted, "aborted"};
    GemmArgs gemm;
    gemm.a = a;
    gemm.b = b;
    gemm.d = d;
    if (how.c != nullptr) gemm.c = *how.c;
    gemm.alpha = how.alpha;
    gemm.beta = how.beta;
    if (how.betas != nullptr && centres()) gemm.betas = how.betas;
    if (how.betas != nullptr && !centres()) gemm.beta = how.betas[0];
    gemm.symmetric = how.symmetric;
    gemm.scales = how.scales;
    gemm.batch = args_.batch;
    const GemmKernels& kernels = context_.kernels.gemm;
    const bool wide = args_.compute == Compute::f32 || how.exact;
    return (wide ? kernels.f32 : kernels.bf16)(context_, gemm);
  }

  // x·xᵀ over the long side.
  Status gram_of(const Matrix& x, const Matrix& d) {
    return tall_ ? multiply(x.transposed(), x, d, {.symmetric = true})
                 : multiply(x, x.transposed(), d, {.symmetric = true});
  }

  // d = scale·(left·x + beta·x) on the short side; the scale brings the caller's x to norm 1.
  Status apply(const Matrix& left, const Matrix& x, const Matrix& d, double beta,
               const double* betas = nullptr) {
    const Product how = {.c = beta == 0 && betas == nullptr ? nullptr : &x, .beta = beta, .betas = betas,
                         .scales = x.data == unscaled_ ? scales_.data() : nullptr};
    return tall_ ? multiply(x, left, d, how) : multiply(left, x, d, how);
  }

  Status direct(const Matrix& result) {
    const bool single = args_.step_count == 1;
    Matrix next = single ? result : take(dtype_, x_.rows, x_.cols);
    Matrix other = args_.step_count > 2 ? take(dtype_, x_.rows, x_.cols) : next;
    const Matrix narrow = take(dtype_, m_, m_);
    const Matrix b = take(dtype_, m_, m_);
    Matrix x = x_;
    for (int i = 0; i < args_.step_count; ++i) {
      const Quintic& q = args_.steps[i];
      const Matrix& a = i == 0 ? gram_ : narrow;
      if (i > 0) PALIMPSEST_TRY(gram_of(x, a));
      PALIMPSEST_TRY(multiply(a, a, b, {.symmetric = true, .alpha = q.c, .c = &a, .beta = q.b}));
      const bool last = i + 1 == args_.step_count;
      PALIMPSEST_TRY(apply(b, x, last ? result : next, q.a));
      x = next;
      std::swap(next, other);
    }
    return {};
  }

  // The matrices of a batch have shifts of their own, which the products take as their betas.
  using Shifts = std::vector<double>;

  Status gram(const Matrix& result) {
    Matrix r = gram_;
    Matrix w = take(DType::f32, m_, m_);
    Matrix spare = take(DType::f32, m_, m_);
    Matrix q = take(DType::f32, m_, m_);
    shifts_ = context_.workspace.take<float>(args_.batch);
    const bool exact = !centres();
    const auto count = static_cast<size_t>(args_.batch);
    Shifts rho(count), omega(count), beta(count), mean(count);
    Matrix x = x_;
    int i = 0;  // the step
    for (int segment = 0; segment < segments(); ++segment) {
      const bool last_segment = segment + 1 == segments();
      // The longer segments come first: only from the second on is their Gram matrix that of a rounded X.
      const int end = (args_.step_count * (segment + 1) + segments() - 1) / segments();
      if (segment > 0) PALIMPSEST_TRY(gram_of(x, r));
      for (const int begin = i; i < end; ++i) {
        const Quintic& s = args_.steps[i];
        // R = ρI + R̃ and W = ωI + W̃. W̃ = cR̃² + (b + 2cρ)R̃, less the mean of its diagonal.
        PALIMPSEST_TRY(centre(r, rho));
        for (size_t j = 0; j < count; ++j) beta[j] = s.b + 2 * s.c * rho[j];
        PALIMPSEST_TRY(multiply(
            r, r, w, {.symmetric = true, .alpha = s.c, .c = &r, .betas = beta.data(), .exact = exact}));
        PALIMPSEST_TRY(centre(w, mean));
        for (size_t j = 0; j < count; ++j) omega[j] = mean[j] + s.a + rho[j] * (s.b + s.c * rho[j]);
        if (i + 1 < end) {
          PALIMPSEST_TRY(add_to_diagonal(r, rho));
          PALIMPSEST_TRY(plus_identity(w, omega, r, spare, exact));
          PALIMPSEST_TRY(plus_identity(w, omega, spare, r, exact));
        }
        if (i == begin) {
          std::swap(q, w);
          mean = omega;  // of Q
          if (i + 1 < end) PALIMPSEST_TRY(add_to_diagonal(q, omega));
        } else {
          PALIMPSEST_TRY(plus_identity(w, omega, q, spare, exact));
          std::swap(q, spare);
          if (i + 1 == end) PALIMPSEST_TRY(centre(q, mean));
        }
      }
      const Matrix to = last_segment ? result : take(dtype_, x.rows, x.cols);
      PALIMPSEST_TRY(apply(q, x, to, 0, mean.data()));
      x = to;
    }
    return {};
  }

  // d = (w + shift·I)·b, where w and b commute.
  Status plus_identity(const Matrix& w, const Shifts& shift, const Matrix& b, const Matrix& d, bool exact) {
    return multiply(w, b, d, {.symmetric = true, .c = &b, .betas = shift.data(), .exact = exact});
  }

  // Otherwise all means are taken for 0, and every shift is the same for all matrices.
  bool centres() const { return context_.kernels.gemm.takes_scales; }

  // Takes the mean of each matrix' diagonal from it.
  Status centre(const Matrix& m, Shifts& means) {
    if (!centres()) {
      std::fill(means.begin(), means.end(), 0.0);
      return {};
    }
    View diagonal = diagonal_of(m);
    const View sums = contiguous_view(shifts_, {args_.batch, 1});
    PALIMPSEST_TRY(context_.kernels.reduce.reduce(context_, {Reduction::mean, sums, diagonal, 0b10}));
    for (size_t i = 0; i < means.size(); ++i) {
      float mean = 0;
      PALIMPSEST_TRY(context_.read(mean, shifts_ + i));
      means[i] = mean;
    }
    return shift_diagonal(m, Binary::sub);
  }

  Status add_to_diagonal(const Matrix& m, const Shifts& shifts) {
    if (!centres()) {
      const View diagonal = diagonal_of(m);
      return shifts[0] == 0 ? Status() : context_.kernels.elementwise.binary(
                                             context_, {Binary::add, diagonal, diagonal, {}, shifts[0]});
    }
    for (size_t i = 0; i < shifts.size(); ++i) {
      const auto shift = static_cast<float>(shifts[i]);
      PALIMPSEST_TRY(context_.write_bytes(shifts_ + i, &shift, sizeof(shift)));
    }
    return shift_diagonal(m, Binary::add);
  }

  View diagonal_of(const Matrix& m) const {
    View diagonal = as_view(m, args_.batch);
    diagonal.rank = 2;
    diagonal.strides[1] = m.row_stride + m.col_stride;
    return diagonal;
  }

  Status shift_diagonal(const Matrix& m, Binary op) {
    const View diagonal = diagonal_of(m);
    View shifts = contiguous_view(shifts_, {args_.batch, m_});
    shifts.strides[0] = 1;
    shifts.strides[1] = 0;
    return context_.kernels.elementwise.binary(context_, {op, diagonal, diagonal, shifts});
  }

  Context& context_;
  const NewtonSchulzArgs& args_;
  bool tall_;
  int64_t m_, n_;
  DType dtype_;
  Matrix x_;     // the caller's, that rounded, or a scaled copy
  const void* unscaled_ = nullptr;  // the x that `scales_` are still to be applied to
  float* shifts_ = nullptr;  // one a matrix
  Matrix gram_;  // of x_ / ‖x_‖
  std::vector<double> scales_;  // 1 / ‖x_‖
};

}  // namespace

size_t newton_schulz_bytes(const NewtonSchulzArgs& args) {
  const auto m = static_cast<size_t>(std::min(args.x.rows, args.x.cols));
  const auto n = static_cast<size_t>(std::max(args.x.rows, args.x.cols));
  // The scaled copy, its f32 form, a result beside an aliased one, two iterates or those of the segments;
  // five squares, and what a device's kernels take: two squares as three parts in bf16 each, one brought
  // to bf16, parts of sums.
  const auto wide = 3 + std::max<size_t>(2, static_cast<size_t>(args.step_count + 2) / 3);
  const size_t parts = std::min(size_t{1} << 24, static_cast<size_t>(args.batch) * sizeof(float) * m * n * (n / 128));
  return static_cast<size_t>(args.batch) * sizeof(float) * (wide * m * n + 9 * m * m) + parts + (size_t{1} << 16);
}

Status orthogonalize(Context& context, const NewtonSchulzArgs& args) {
  if (args.x.rows != args.out.rows || args.x.cols != args.out.cols) {
    return {Code::shape, "orthogonalize: 'out' must have the shape of 'x'"};
  }
  if (!is_floating(args.x.dtype)) return {Code::dtype, "orthogonalize takes floats"};
  if (args.batch == 0 || args.x.rows == 0 || args.x.cols == 0) return {};
  return Iteration(context, args).run();
}

}  // namespace palimpsest
