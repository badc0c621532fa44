// Floor, for m ≤ n, a step of the direct form: 3m²n + m³ FLOPs with both symmetric products halved
// (2m²n of them in the last product). The Gram form costs 6m²n + (4k − 6)m³ for k steps with one
// restart instead of k(3m²n + m³), and pays where n is well above m.
//
// Precision of the Gram form: R = XXᵀ is kept and multiplied in float32, whatever X is held in,
// because in bfloat16 it loses the small eigenvalues that five quintic steps magnify.

#include "palimpsest/ops/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
    x_ = take(dtype_, args_.x.rows, args_.x.cols);
    PALIMPSEST_TRY(normalise());
    Matrix result = x_;
    if (args_.step_count > 0) {
      PALIMPSEST_TRY(choose_gram() ? gram(result) : direct(result));
    }
    return context_.kernels.elementwise.unary(
        context_, {Unary::copy, as_view(args_.out, args_.batch), as_view(result, args_.batch)});
  }

 private:
  Matrix take(DType dtype, int64_t rows, int64_t cols) {
    void* data = context_.workspace.take_bytes(static_cast<size_t>(args_.batch * rows * cols) *
                                               size_of(dtype));
    return {data, dtype, rows, cols, cols, 1, rows * cols};
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

  bool choose_gram() const {
    if (args_.method != NewtonSchulzMethod::automatic) {
      return args_.method == NewtonSchulzMethod::gram;
    }
    const double m = static_cast<double>(m_);
    const double n = static_cast<double>(n_);
    const double k = args_.step_count;
    const double direct = k * (3 * m * m * n + m * m * m);
    // Products of Gram matrices run at the float32 rate, half of bfloat16's.
    const double small = args_.compute == Compute::bf16 ? 2.0 : 1.0;
    const double gram = 6 * m * m * n + small * (4 * k - 6) * m * m * m;
    return gram < 0.9 * direct;
  }

  // d = alpha·a·b + beta·c, symmetric where told.
  Status multiply(const Matrix& a, const Matrix& b, const Matrix& d, bool symmetric, double alpha,
                  const Matrix* c = nullptr, double beta = 0) {
    if (context_.aborted()) return {Code::aborted, "aborted"};
    GemmArgs gemm;
    gemm.a = a;
    gemm.b = b;
    gemm.d = d;
    if (c != nullptr) gemm.c = *c;
    gemm.alpha = alpha;
    gemm.beta = beta;
    gemm.symmetric = symmetric;
    gemm.batch = args_.batch;
    return matmul(context_, gemm);
  }

  // x·xᵀ over the long side.
  Status gram_of(const Matrix& x, const Matrix& d) {
    return tall_ ? multiply(x.transposed(), x, d, true, 1) : multiply(x, x.transposed(), d, true, 1);
  }

  // d = left·x on the short side, plus beta·x.
  Status apply(const Matrix& left, const Matrix& x, const Matrix& d, double beta) {
    const Matrix* c = beta != 0 ? &x : nullptr;
    return tall_ ? multiply(x, left, d, false, 1, c, beta) : multiply(left, x, d, false, 1, c, beta);
  }

  Status direct(Matrix& result) {
    Matrix next = take(dtype_, x_.rows, x_.cols);
    const Matrix a = take(dtype_, m_, m_);
    const Matrix b = take(dtype_, m_, m_);
    Matrix x = x_;
    for (int i = 0; i < args_.step_count; ++i) {
      const Quintic& q = args_.steps[i];
      PALIMPSEST_TRY(gram_of(x, a));
      PALIMPSEST_TRY(multiply(a, a, b, true, q.c, &a, q.b));
      PALIMPSEST_TRY(apply(b, x, next, q.a));
      std::swap(x, next);
    }
    result = x;
    return {};
  }

  // With W = aI + bR + cR²: Q ← QW, R ← WRW; all of them polynomials of R₀, so they commute and stay
  // symmetric. Rounding errors of R's small eigenvalues grow with every step, so that X is multiplied
  // and R computed anew in the middle (the restart of Gram Newton–Schulz, Dao-AILab 2026).
  Status gram(Matrix& result) {
    Matrix r = take(DType::f32, m_, m_);
    Matrix w = take(DType::f32, m_, m_);
    Matrix q = take(DType::f32, m_, m_);
    Matrix spare = take(DType::f32, m_, m_);
    Matrix next = take(dtype_, x_.rows, x_.cols);
    Matrix x = x_;
    const int restart = args_.step_count / 2;
    PALIMPSEST_TRY(gram_of(x, r));
    for (int i = 0; i < args_.step_count; ++i) {
      const Quintic& s = args_.steps[i];
      PALIMPSEST_TRY(multiply(r, r, w, true, s.c, &r, s.b));
      PALIMPSEST_TRY(add_to_diagonal(w, s.a));
      if (i == 0 || i == restart) {
        PALIMPSEST_TRY(context_.kernels.elementwise.unary(
            context_, {Unary::copy, as_view(q, args_.batch), as_view(w, args_.batch)}));
      } else {
        PALIMPSEST_TRY(multiply(q, w, spare, true, 1));
        std::swap(q, spare);
      }
      const bool last = i + 1 == args_.step_count;
      if (last || i + 1 == restart) {
        PALIMPSEST_TRY(apply(q, x, next, 0));
        std::swap(x, next);
        if (!last) PALIMPSEST_TRY(gram_of(x, r));
      } else {
        PALIMPSEST_TRY(multiply(r, w, spare, true, 1));
        PALIMPSEST_TRY(multiply(spare, w, r, true, 1));
      }
    }
    result = x;
    return {};
  }

  Status add_to_diagonal(const Matrix& m, double value) {
    View diagonal = as_view(m, args_.batch);
    diagonal.rank = 2;
    diagonal.strides[1] = m.row_stride + m.col_stride;
    return context_.kernels.elementwise.binary(context_,
                                               {Binary::add, diagonal, diagonal, {}, value});
  }

  Context& context_;
  const NewtonSchulzArgs& args_;
  bool tall_;
  int64_t m_, n_;
  DType dtype_;
  Matrix x_;
};

}  // namespace

Status orthogonalize(Context& context, const NewtonSchulzArgs& args) {
  if (args.x.rows != args.out.rows || args.x.cols != args.out.cols) {
    return {Code::shape, "orthogonalize: 'out' must have the shape of 'x'"};
  }
  if (!is_floating(args.x.dtype)) return {Code::dtype, "orthogonalize takes floats"};
  if (args.batch == 0 || args.x.rows == 0 || args.x.cols == 0) return {};
  return Iteration(context, args).run();
}

}  // namespace palimpsest
