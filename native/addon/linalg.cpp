// Bindings of matrix products, decompositions and orthogonalization.

#include "addon/bindings.h"
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
  args.alpha = call.number();
  args.beta = call.number();
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

}  // namespace

void register_linalg(Exports& exports) { exports.add_with_async<matmul>("matmul"); }

}  // namespace palimpsest::addon
