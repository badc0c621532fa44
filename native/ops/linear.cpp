// Floor: 2·n·in·out FLOPs for each of dx and dw, one pass over g for the rest.

#include "palimpsest/ops/linear.h"

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

Matrix matrix_of(const View& v) {
  return {v.data, v.dtype, v.shape[0], v.shape[1], v.strides[0], v.strides[1], 0};
}

Status multiply(Context& context, const Matrix& a, const Matrix& b, const View& d, Compute compute) {
  GemmArgs args;
  args.a = a;
  args.b = b;
  args.d = matrix_of(d);
  return matmul(context, args, compute);
}

Binary chain_rule(Activation activation) {
  return activation == Activation::relu   ? Binary::relu_backward
         : activation == Activation::tanh ? Binary::tanh_backward
                                          : Binary::sigmoid_backward;
}

}  // namespace

Status linear_backward(Context& context, const LinearBackwardArgs& args) {
  const Workspace::Scope scope(context.workspace);
  View h = args.g;
  if (args.activation != Activation::none) {
    h = args.y;  // its shape and strides
    h.data = context.workspace.take_bytes(static_cast<size_t>(h.size()) * size_of(h.dtype));
    PALIMPSEST_TRY(context.kernels.elementwise.binary(
        context, {.op = chain_rule(args.activation), .out = h, .a = args.g, .b = args.y}));
  }
  if (args.dw.data != nullptr) {
    PALIMPSEST_TRY(multiply(context, matrix_of(h).transposed(), matrix_of(args.x), args.dw, args.compute));
  }
  if (args.db.data != nullptr) {
    View row = args.db;  // [1, out]
    row.rank = 2;
    row.shape[1] = row.shape[0];
    row.strides[1] = row.strides[0];
    row.shape[0] = 1;
    row.strides[0] = row.shape[1];
    PALIMPSEST_TRY(context.kernels.reduce.reduce(context, {.op = Reduction::sum, .out = row, .in = h, .axes = 1}));
  }
  if (args.dx.data == nullptr) return {};
  return multiply(context, matrix_of(h), matrix_of(args.w), args.dx, args.compute);
}

}  // namespace palimpsest
