// Bindings of matrix products, decompositions and orthogonalization.

#include "addon/bindings.h"
#include "palimpsest/ops/linear.h"
#include "palimpsest/ops/matmul.h"

namespace palimpsest::addon {
namespace {

// A view of rank 2, or of rank 3 whose first axis counts the batch.
Matrix to_matrix(const View& view, const char* name) {
  if (view.rank != 2 && view.rank != 3) {
    refuse(Code::shape, std::string("'") + name + "' must have rank 2 or 3");
  }
  const int r = view.rank - 2;
  return {view.data,          view.dtype,           view.shape[r], view.shape[r + 1],
          view.strides[r],    view.strides[r + 1],  r == 1 ? view.strides[0] : 0};
}

int64_t batch_of(const View& view) { return view.rank == 3 ? view.shape[0] : 1; }

// matmul(a, b, out, bias | null): out = activation(alpha·a·b + beta·out + bias)
// block: a, b, out, [bias], alpha, beta, activation, compute
auto matmul(Call& call) {
  const View a = call.view("a", Access::read);
  const View b = call.view("b", Access::read);
  const View out = call.view("out", Access::update);
  const View bias = call.optional_view("bias", Access::read);
  GemmArgs args;
  args.a = to_matrix(a, "a");
  args.b = to_matrix(b, "b");
  args.d = to_matrix(out, "out");
  args.batch = batch_of(out);
  if ((a.rank == 3 && a.shape[0] != args.batch) || (b.rank == 3 && b.shape[0] != args.batch)) {
    refuse(Code::shape, "'a', 'b' and 'out' must have the same batch");
  }
  call.read(args.alpha, args.beta);
  args.activation = call.choice("activation", Activation::sigmoid);
  const auto compute = call.choice("compute", Compute::bf16);
  if (args.beta != 0) args.c = args.d;
  if (bias.data != nullptr) {
    const DType wanted = out.dtype == DType::f64 ? DType::f64 : DType::f32;
    if (bias.rank != 1 || bias.shape[0] != args.d.cols || !bias.contiguous() ||
        bias.dtype != wanted) {
      refuse(Code::shape, "'bias' must be a contiguous vector with one value a column");
    }
    args.bias = bias.data;
  }
  return [args, compute](Context& context) { return palimpsest::matmul(context, args, compute); };
}

// linearBackward(g, y | null, x, w, dx | null, dw | null, db | null)
// block: views of what is not null, in this order; activation, compute
auto linear_backward(Call& call) {
  LinearBackwardArgs args;
  args.g = call.view("g", Access::read);
  args.y = call.optional_view("y", Access::read);
  args.x = call.view("x", Access::read);
  args.w = call.view("w", Access::read);
  args.dx = call.optional_view("dx", Access::write);
  args.dw = call.optional_view("dw", Access::write);
  args.db = call.optional_view("db", Access::write);
  args.activation = call.choice("activation", Activation::sigmoid);
  args.compute = call.choice("compute", Compute::bf16);
  if (args.g.rank != 2 || args.x.rank != 2 || args.w.rank != 2) {
    refuse(Code::shape, "'g', 'x' and 'w' must have rank 2");
  }
  const int64_t n = args.g.shape[0], outputs = args.g.shape[1], inputs = args.x.shape[1];
  const auto fits = [&](const View& v, const char* name, int64_t rows, int64_t cols) {
    if (v.data == nullptr) return;
    const bool same = rows < 0 ? v.rank == 1 && v.shape[0] == cols
                               : v.rank == 2 && v.shape[0] == rows && v.shape[1] == cols;
    if (!same) refuse(Code::shape, std::string("'") + name + "' does not have the shape of this layer");
    if (v.dtype != args.g.dtype || (v.dtype != DType::f32 && v.dtype != DType::f64)) {
      refuse(Code::dtype, std::string("'") + name + "' must be float32 or float64 as all others");
    }
  };
  fits(args.g, "g", n, outputs);
  fits(args.y, "y", n, outputs);
  fits(args.x, "x", n, inputs);
  fits(args.w, "w", outputs, inputs);
  fits(args.dx, "dx", n, inputs);
  fits(args.dw, "dw", outputs, inputs);
  fits(args.db, "db", -1, outputs);
  if ((args.activation != Activation::none) != (args.y.data != nullptr)) {
    refuse(Code::argument, "'y' is needed with an activation alone");
  }
  if (args.activation == Activation::gelu || args.activation == Activation::silu) {
    refuse(Code::argument, "this activation's slope is not known from its output");
  }
  if (args.y.data != nullptr && !args.y.contiguous()) refuse(Code::shape, "'y' must be contiguous");
  return [args](Context& context) { return palimpsest::linear_backward(context, args); };
}

}  // namespace

void register_linalg(Exports& exports) {
  exports.add_with_async<matmul>("matmul");
  exports.add<linear_backward>("linearBackward");
}

}  // namespace palimpsest::addon
