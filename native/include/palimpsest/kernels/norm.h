// Normalisation: layer norm and RMS norm over rows, batch norm over channels. Fused forward and
// backward; f32 or f64, all buffers of one dtype.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// y = (x − mean)·rstd·weight + bias over rows of `width` contiguous elements, rstd = 1/√(var + eps)
// with the biased variance (Ba et al. 2016). Without `centered`: mean = 0 and rstd from the mean
// square, RMS norm (Zhang & Sennrich 2019). mean (may be null where not centered) and rstd keep one
// value a row for the backward pass.
struct RowNormArgs {
  DType dtype;
  int64_t rows, width;
  bool centered;
  double eps;
  const void* x;
  const void* weight;  // width values or null
  const void* bias;    // width values or null
  void* y;
  void* mean;
  void* rstd;
};

// The chain rule of RowNormArgs (y, bias, eps are not read). dx, dweight, dbias may be null.
struct RowNormBackwardArgs {
  RowNormArgs forward;
  const void* dy;
  void* dx;
  void* dweight;
  void* dbias;
};

// y = (x − mean[c])/√(variance[c] + eps)·weight[c] + bias[c] over x [n, channels, inner]. With `batch`
// the statistics are x's own (Ioffe & Szegedy 2015; the biased variance) and are written, else read.
struct BatchNormArgs {
  DType dtype;
  int64_t n, channels, inner;
  bool batch;
  double eps;
  const void* x;
  const void* weight;  // channels values or null
  const void* bias;
  void* y;
  void* mean;      // channels values
  void* variance;  // channels values
};

// The chain rule; with `batch` through the statistics too. Outputs may be null.
struct BatchNormBackwardArgs {
  BatchNormArgs forward;
  const void* dy;
  void* dx;
  void* dweight;
  void* dbias;
};

// out = x / ((‖x‖/s + eps)·s·factor) for each of `batch` matrices, ‖·‖ Frobenius' norm and s the largest
// magnitude in the matrix; zero stays zero. x is f32 or bf16, out f32 or bf16 and may be x.
struct UnitArgs {
  Matrix x, out;
  int64_t batch;
  double eps, factor;
  int32_t* strange;  // becomes 1 where a matrix holds NaN or Inf, else stays; may be null
};

struct NormKernels {
  Status (*rows)(Context&, const RowNormArgs&);
  Status (*rows_backward)(Context&, const RowNormBackwardArgs&);
  Status (*batch)(Context&, const BatchNormArgs&);
  Status (*batch_backward)(Context&, const BatchNormBackwardArgs&);
  // Null where reductions and products by numbers on the host do it as well.
  Status (*unit)(Context&, const UnitArgs&) = nullptr;
};

}  // namespace palimpsest
