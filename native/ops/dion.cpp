// Dion (arXiv 2504.05295; microsoft/dion, dion_reference.py): one power iteration a step, warm-started
// by the last one, instead of Newton–Schulz.
//
// Floor for m × n of rank r: 8mnr FLOPs (XQ, XᵀP, the error feedback, the update) and 4mr² for the
// orthonormalisation, against Newton–Schulz's 5·(3m²n + m³) at m ≤ n: ahead where r is well below m.
//
// P is orthonormalised by Cholesky QR, twice, in float64: products do all the work, and a condition
// number of up to 1e6, beyond which float32 columns are dependent anyway, does no harm. (The authors'
// randomised Cholesky QR serves the same end in float32.)

#include "palimpsest/ops/dion.h"

#include <cmath>
#include <vector>

#include "core/matrix_view.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"
#include "palimpsest/ops/matmul.h"

namespace palimpsest {
namespace {

Status convert(Context& context, const Matrix& from, const Matrix& to) {
  return context.kernels.elementwise.unary(context, {Unary::copy, view_of(to), view_of(from)});
}

Status product(Context& context, const Matrix& a, const Matrix& b, const Matrix& d,
               double alpha = 1, const Matrix* c = nullptr, double beta = 0) {
  if (context.aborted()) return {Code::aborted, "aborted"};
  GemmArgs gemm;
  gemm.a = a;
  gemm.b = b;
  gemm.d = d;
  gemm.alpha = alpha;
  gemm.beta = beta;
  if (c != nullptr) gemm.c = *c;
  return matmul(context, gemm);
}

// gram = UᵀU of r × r becomes U⁻¹ in place. A column whose part outside the span of those before is
// below `tolerance` of its norm becomes zero.
void inverse_factor(double* gram, double* u, int64_t r, double tolerance) {
  for (int64_t j = 0; j < r; ++j) {
    const double norm = gram[j * r + j];
    double pivot = norm;
    for (int64_t i = 0; i < j; ++i) {
      double value = gram[i * r + j];
      for (int64_t k = 0; k < i; ++k) value -= u[k * r + i] * u[k * r + j];
      value = u[i * r + i] > 0 ? value / u[i * r + i] : 0;
      u[i * r + j] = value;
      pivot -= value * value;
    }
    u[j * r + j] = pivot > tolerance * tolerance * norm && norm > 0 ? std::sqrt(pivot) : 0;
  }
  for (int64_t j = 0; j < r; ++j) {
    for (int64_t i = r; i-- > 0;) {
      double value = i == j ? 1 : 0;
      for (int64_t k = i + 1; k <= j; ++k) value -= u[i * r + k] * gram[k * r + j];
      const bool kept = i <= j && u[i * r + i] > 0 && u[j * r + j] > 0;
      gram[i * r + j] = kept ? value / u[i * r + i] : 0;
    }
  }
}

// p ← an orthonormal basis of its columns; dependent ones become zero.
Status orthonormalise(Context& context, const Matrix& p) {
  const Workspace::Scope scope(context.workspace);
  const int64_t r = p.cols;
  const Matrix a = row_major(context.workspace.take<double>(p.rows * r), p.rows, r);
  const Matrix b = row_major(context.workspace.take<double>(p.rows * r), p.rows, r);
  auto* gram = context.workspace.take<double>(r * r);
  std::vector<double> own(static_cast<size_t>(r * r));
  std::vector<double> factor(own.size());
  const Matrix square = row_major(gram, r, r);
  PALIMPSEST_TRY(convert(context, p, a));
  for (const auto& [from, to] : {std::pair{a, b}, {b, a}}) {
    PALIMPSEST_TRY(product(context, from.transposed(), from, square));
    // Small, and a chain of dependent steps: the host's, wherever the matrices are.
    PALIMPSEST_TRY(context.read_bytes(own.data(), gram, own.size() * sizeof(double)));
    inverse_factor(own.data(), factor.data(), r, 1e-6);
    PALIMPSEST_TRY(context.write_bytes(gram, own.data(), own.size() * sizeof(double)));
    PALIMPSEST_TRY(product(context, from, square, to));
  }
  return convert(context, a, p);
}

// q's columns ← r's, of norm 1; where r's is zero q keeps its own, but r's stays for the update.
void normalise_columns(float* r, float* q, int64_t rows, int64_t cols, double eps) {
  for (int64_t j = 0; j < cols; ++j) {
    double squares = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const double x = r[i * cols + j];
      squares += x * x;
    }
    const double factor = 1 / (std::sqrt(squares) + eps);
    for (int64_t i = 0; i < rows; ++i) {
      float& x = r[i * cols + j];
      x = static_cast<float>(x * factor);
      if (squares > 0) q[i * cols + j] = x;
    }
  }
}

// The same by kernels, for memory that is not the host's.
Status normalise_columns_on_device(Context& context, float* r, float* q, int64_t rows, int64_t cols, double eps) {
  const Workspace::Scope scope(context.workspace);
  const ElementwiseKernels& k = context.kernels.elementwise;
  const View squares = contiguous_view(context.workspace.take<float>(cols), {1, cols});
  const View factors = contiguous_view(context.workspace.take<float>(cols), {1, cols});
  const View of_r = contiguous_view(r, {rows, cols});
  const View of_q = contiguous_view(q, {rows, cols});
  const auto on_rows = [rows](View one) {
    one.shape[0] = rows;
    one.strides[0] = 0;
    return one;
  };
  PALIMPSEST_TRY(context.kernels.reduce.reduce(context, {Reduction::sum_of_squares, squares, of_r, 0b01}));
  PALIMPSEST_TRY(k.unary(context, {Unary::sqrt, factors, squares}));
  PALIMPSEST_TRY(k.binary(context, {Binary::add, factors, factors, {}, eps}));
  PALIMPSEST_TRY(k.unary(context, {Unary::reciprocal, factors, factors}));
  PALIMPSEST_TRY(k.binary(context, {Binary::mul, of_r, of_r, on_rows(factors)}));
  View there = contiguous_view(context.workspace.take<uint8_t>(cols), {1, cols});
  PALIMPSEST_TRY(k.binary(context, {Binary::gt, there, squares, {}, 0}));
  return k.where(context, {of_q, on_rows(there), of_r, of_q, 0, 0});
}

Status step_matrix(Context& context, const DionArgs& args, const DionParameter& one) {
  const Workspace::Scope scope(context.workspace);
  const int64_t n = one.rows * one.cols;
  const bool tall = one.rows >= one.cols;
  const int64_t length = tall ? one.rows : one.cols;
  const int64_t width = tall ? one.cols : one.rows;
  auto* sum = context.workspace.take<float>(n);
  const MomentumTensor add{n, one.g, one.momentum, sum, one.step};
  context.kernels.optim.momentum(context, {args.state, 1, 1, args.grad_scale, false}, &add, 1);
  const Matrix m = row_major(sum, one.rows, one.cols);
  const Matrix x = tall ? m : m.transposed();
  const Matrix q = row_major(one.q, width, one.rank);
  const Matrix p = row_major(context.workspace.take<float>(length * one.rank), length, one.rank);
  auto* right = context.workspace.take<float>(width * one.rank);
  const Matrix r = row_major(right, width, one.rank);
  PALIMPSEST_TRY(product(context, x, q, p));
  PALIMPSEST_TRY(orthonormalise(context, p));
  PALIMPSEST_TRY(product(context, x.transposed(), p, r));
  // P·Rᵀ in the layout of the parameter.
  const Matrix& left = tall ? p : r;
  const Matrix other = (tall ? r : p).transposed();
  PALIMPSEST_TRY(product(context, left, other, m, args.momentum - 1, &m, 1));
  const MomentumTensor keep{n, sum, one.momentum, nullptr, one.step};
  context.kernels.optim.momentum(context, {args.state, 0, 1, {}, false}, &keep, 1);
  if (context.access == nullptr) {
    normalise_columns(right, one.q, width, one.rank, args.eps);
  } else {
    PALIMPSEST_TRY(normalise_columns_on_device(context, right, one.q, width, one.rank, args.eps));
  }
  const Matrix parameter = row_major(one.p, one.rows, one.cols);
  return product(context, left, other, parameter, -one.scale, &parameter, 1 - args.decay);
}

}  // namespace

Status dion_step(Context& context, const DionArgs& args) {
  for (const DionParameter& p : args.parameters) {
    const int64_t matrix = p.rows * p.cols;
    if (matrix == 0) continue;
    const int64_t width = p.rows < p.cols ? p.rows : p.cols;
    for (int64_t b = 0; b < p.batch; ++b) {
      DionParameter one = p;
      one.p += b * matrix;
      one.g += b * matrix;
      one.momentum = static_cast<std::byte*>(p.momentum) +
                     static_cast<size_t>(b * matrix) * size_of(args.state);
      one.q += b * width * p.rank;
      PALIMPSEST_TRY(step_matrix(context, args, one));
    }
  }
  return {};
}

}  // namespace palimpsest
