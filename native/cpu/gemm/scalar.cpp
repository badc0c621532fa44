// The reference: three loops in the order of the definition, sums in ascending k. Everything else
// in this folder is compared with it.

#include <cmath>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

template <typename Accumulator>
Accumulator load(const Matrix& m, int64_t batch, int64_t row, int64_t col) {
  const int64_t at = batch * m.batch_stride + row * m.row_stride + col * m.col_stride;
  switch (m.dtype) {
    case DType::f64: return static_cast<Accumulator>(static_cast<const double*>(m.data)[at]);
    case DType::bf16: return to_float(static_cast<const BFloat16*>(m.data)[at]);
    default: return static_cast<const float*>(m.data)[at];
  }
}

template <typename Accumulator>
void store(const Matrix& m, int64_t batch, int64_t row, int64_t col, Accumulator value) {
  const int64_t at = batch * m.batch_stride + row * m.row_stride + col * m.col_stride;
  switch (m.dtype) {
    case DType::f64: static_cast<double*>(m.data)[at] = value; break;
    case DType::bf16: static_cast<BFloat16*>(m.data)[at] = to_bf16(static_cast<float>(value)); break;
    default: static_cast<float*>(m.data)[at] = static_cast<float>(value);
  }
}

template <typename T>
T activate(Activation activation, T x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? T(0) : x;  // NaN stays
    case Activation::gelu: return T(0.5) * x * (1 + std::erf(x * T(0.70710678118654752)));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
  }
  return x;
}

template <typename Accumulator, bool kRoundToBf16>
Status gemm(Context& context, const GemmArgs& args) {
  const auto rounded = [](Accumulator x) {
    return kRoundToBf16 ? Accumulator(to_float(to_bf16(static_cast<float>(x)))) : x;
  };
  const int64_t m = args.d.rows;
  const int64_t n = args.d.cols;
  const int64_t k = args.a.cols;
  const auto* bias = static_cast<const Accumulator*>(args.bias);
  context.parallel(args.batch * m, [&](int64_t task) {
    const int64_t batch = task / m;
    const int64_t i = task % m;
    const double alpha = alpha_of(args, batch);
    const double beta = beta_of(args, batch);
    for (int64_t j = 0; j < (args.symmetric ? i + 1 : n); ++j) {
      Accumulator sum = 0;
      for (int64_t l = 0; l < k; ++l) {
        sum += rounded(load<Accumulator>(args.a, batch, i, l)) *
               rounded(load<Accumulator>(args.b, batch, l, j));
      }
      sum *= static_cast<Accumulator>(alpha);
      if (args.c.data != nullptr && beta != 0) {
        sum += static_cast<Accumulator>(beta) * load<Accumulator>(args.c, batch, i, j);
      }
      if (bias != nullptr) sum += bias[j];
      sum = activate(args.activation, sum);
      store(args.d, batch, i, j, sum);
      if (args.symmetric && i != j) store(args.d, batch, j, i, sum);
    }
  });
  return {};
}

}  // namespace

void fill_gemm_scalar(KernelTable& table) {
  table.gemm = {.f32 = gemm<float, false>, .f64 = gemm<double, false>, .bf16 = gemm<float, true>,
                .mixed = gemm<float, false>, .takes_scales = true};
}

}  // namespace palimpsest::cpu
