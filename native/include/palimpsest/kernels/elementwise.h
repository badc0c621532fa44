// Elementwise operations, conversions and copies over views of any shape and stride.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// The numbers of both enumerations are shared with lib/tensor/elementwise.ts.
enum class Unary : uint8_t {
  copy, neg, abs, sign, square, reciprocal, sqrt, rsqrt, exp, expm1, log, log1p, sin, cos, tanh,
  sigmoid, relu, gelu, silu, softplus, erf, floor, ceil, round, logical_not, is_nan, is_finite,
  gelu_tanh,
};
inline constexpr int kUnaries = static_cast<int>(Unary::gelu_tanh) + 1;

enum class Binary : uint8_t {
  add, sub, mul, div, pow, maximum, minimum, mod,
  eq, ne, lt, le, gt, ge, logical_and, logical_or, logical_xor,
  // Chain rules of activations: the first operand is the incoming gradient g, the second the
  // activation's input x, or its output y where that is enough.
  relu_backward,     // g where x > 0 (or y > 0), else 0
  gelu_backward,     // g · gelu'(x)
  silu_backward,     // g · silu'(x)
  tanh_backward,     // g · (1 − y²)
  sigmoid_backward,  // g · y · (1 − y)
  gelu_tanh_backward,
};
inline constexpr int kBinaries = static_cast<int>(Binary::gelu_tanh_backward) + 1;

// out = op(in). Shapes are equal; strides are free (0 broadcasts an input).
struct UnaryArgs {
  Unary op;
  View out, in;
};

// out = op(a, b). An operand whose data is null is the number `scalar`.
struct BinaryArgs {
  Binary op;
  View out, a, b;
  double scalar = 0;
};

// out = condition ? a : b, by element; condition is bool or uint8. Null operands as above.
struct WhereArgs {
  View out, condition, a, b;
  double scalar_a = 0;
  double scalar_b = 0;
};

// Any combination of dtypes: operands are converted to the dtype in which the operation is done
// (f64 if one of them is f64, else f32 if one is floating, else int32), and the result to out's.
// out may be an input itself, with the same strides; partial overlap is undefined.
struct ElementwiseKernels {
  Status (*unary)(Context&, const UnaryArgs&);
  Status (*binary)(Context&, const BinaryArgs&);
  Status (*where)(Context&, const WhereArgs&);
};

}  // namespace palimpsest
