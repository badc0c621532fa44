// Matrix products.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

enum class Activation : uint8_t { none, relu, gelu, silu, tanh, sigmoid };

// D = activation(alpha · A·B + beta · C + bias), for each of `batch` matrices.
struct GemmArgs {
  Matrix a;  // m×k
  Matrix b;  // k×n
  Matrix d;  // m×n; overlaps neither a nor b
  Matrix c;  // m×n or data == nullptr; may be d itself (same pointer and strides)
  double alpha = 1;
  double beta = 0;
  const void* bias = nullptr;  // n values of the accumulator's type, added to every row
  Activation activation = Activation::none;
  // The caller promises D = Dᵀ (A·B symmetric, C symmetric, no bias): half of the tiles are
  // computed, the other half is mirrored.
  bool symmetric = false;
  int64_t batch = 1;
  // In host memory, one a matrix of the batch: multiplies its alpha and beta. Null: 1. Only for
  // kernels that take scales.
  const double* scales = nullptr;
  // The same for numbers that take the place of beta, before `scales`.
  const double* betas = nullptr;
};

// What alpha and beta are for one matrix of the batch.
inline double alpha_of(const GemmArgs& args, int64_t batch) {
  return (args.scales == nullptr ? 1 : args.scales[batch]) * args.alpha;
}
inline double beta_of(const GemmArgs& args, int64_t batch) {
  return (args.scales == nullptr ? 1 : args.scales[batch]) * (args.betas == nullptr ? args.beta : args.betas[batch]);
}

using GemmKernel = Status (*)(Context&, const GemmArgs&);

// Arguments have been checked by the caller. Strides are arbitrary; unit strides in one direction
// are fast. Same bits for any number of threads. m, n, k or batch of 0 are allowed (k = 0: the sum
// is zero).
struct GemmKernels {
  GemmKernel f32;   // a, b, c, d f32
  GemmKernel f64;   // a, b, c, d f64
  GemmKernel bf16;  // a, b each f32 (rounded on the way) or bf16; c, d each f32 or bf16; sums in f32
  // The same types, but an f32 operand counts with at least 16 bits of fraction. Finite values only.
  // Null where the device has no such kernel.
  GemmKernel mixed = nullptr;
  bool takes_scales = false;  // all of them heed GemmArgs::scales and betas
};

}  // namespace palimpsest
