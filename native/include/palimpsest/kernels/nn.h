// Fused kernels of neural networks that work on rows: softmax and cross-entropy.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// Rows of `width` contiguous elements, f32 or f64; all buffers have one dtype.
struct SoftmaxArgs {
  DType dtype;
  int64_t rows, width;
  bool logarithm;  // log softmax
  const void* x;
  void* y;
};

// dx = chain rule of SoftmaxArgs from dy and the forward's y.
struct SoftmaxBackwardArgs {
  DType dtype;
  int64_t rows, width;
  bool logarithm;
  const void* dy;
  const void* y;
  void* dx;
};

// With ℓ_j = logsumexp(x_i) − x_i[j] and weights w (1 where none are given):
// loss[i] = (1 − s)·w[t_i]·ℓ_{t_i} + s/width·Σ_j w_j·ℓ_j; 0 where t_i = ignore, as in PyTorch.
// normaliser[i] = logsumexp(x_i) is kept for the backward pass.
struct CrossEntropyArgs {
  DType dtype;
  int64_t rows, width;
  const void* x;
  const int32_t* targets;
  const void* weights;  // width values or null
  double smoothing;     // s in [0, 1]
  int32_t ignore;       // a target that counts nothing (any negative number, say)
  void* loss;
  void* normaliser;
};

// dx_ij = scale_i · (c_i·softmax(x_i)_j − (1 − s)·w[t_i]·[j = t_i] − s/width·w_j) with
// c_i = (1 − s)·w[t_i] + s/width·Σw; scale has one value a row, or one for all rows where
// scale_stride is 0.
struct CrossEntropyBackwardArgs {
  CrossEntropyArgs forward;
  const void* scale;
  int64_t scale_stride;
  void* dx;
};

struct NnKernels {
  Status (*softmax)(Context&, const SoftmaxArgs&);
  Status (*softmax_backward)(Context&, const SoftmaxBackwardArgs&);
  // Code::argument where a target is neither a class nor `ignore`; nothing is written then.
  Status (*cross_entropy)(Context&, const CrossEntropyArgs&);
  Status (*cross_entropy_backward)(Context&, const CrossEntropyBackwardArgs&);
};

}  // namespace palimpsest
