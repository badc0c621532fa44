// The gradients of a linear layer, y = activation(x·Wᵀ + b), in one call.
#pragma once

#include "palimpsest/kernels/gemm.h"
#include "palimpsest/ops/matmul.h"
#include "palimpsest/view.h"

namespace palimpsest {

// With h = g · activation'(y): dx = h·W, dw = hᵀ·x, db = the sum of h's rows. All of one dtype, f32 or f64;
// g, y and h are n × out, x is n × in, W out × in. What has no data is not wanted.
struct LinearBackwardArgs {
  View g;
  View y;  // the layer's output, contiguous; without data where the activation is none
  Activation activation = Activation::none;  // none, relu, tanh or sigmoid: known from y
  View x, w;
  View dx, dw, db;
  Compute compute = Compute::f32;
};

Status linear_backward(Context& context, const LinearBackwardArgs& args);

}  // namespace palimpsest
