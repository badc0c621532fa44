// Two-dimensional convolution (cross-correlation, as networks mean it) and its gradients.
#pragma once

#include "palimpsest/kernels/conv.h"
#include "palimpsest/kernels/gemm.h"

namespace palimpsest {

// All buffers contiguous and of one dtype, f32 or f64: x [n, c, h, w], weight [o, c/groups, kh, kw],
// y [n, o, oh, ow].
struct ConvArgs {
  DType dtype;
  int64_t n, c, h, w;
  int64_t o;
  int64_t groups = 1;
  Window window;
  Activation activation = Activation::none;  // what conv2d ends with: none or relu
};

// y = activation(x ∗ weight + bias) (bias: o values or null).
Status conv2d(Context& context, const ConvArgs& args, const void* x, const void* weight,
              const void* bias, void* y);
// dx from dy.
Status conv2d_backward_data(Context& context, const ConvArgs& args, const void* dy,
                            const void* weight, void* dx);
// dweight from dy and x.
Status conv2d_backward_weight(Context& context, const ConvArgs& args, const void* dy, const void* x,
                              void* dweight);

}  // namespace palimpsest
