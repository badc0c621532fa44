// Bindings of elementwise operations.

#include "addon/bindings.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

void check_same_shape(const View& out, const View& in, const char* name) {
  if (in.data == nullptr) return;
  bool same = in.rank == out.rank;
  for (int i = 0; same && i < out.rank; ++i) same = in.shape[i] == out.shape[i];
  if (!same) refuse(Code::shape, std::string("'") + name + "' must have the shape of 'out'");
}

// unary(in, out); block: in, out, op
auto unary(Call& call) {
  UnaryArgs args;
  args.in = call.view("in", Access::read);
  args.out = call.view("out", Access::write);
  args.op = call.choice("op", Unary::gelu_tanh);
  check_same_shape(args.out, args.in, "in");
  return [args](Context& context) { return context.kernels.elementwise.unary(context, args); };
}

// binary(a | null, b | null, out); block: [a], [b], out, op, scalar
auto binary(Call& call) {
  BinaryArgs args;
  args.a = call.optional_view("a", Access::read);
  args.b = call.optional_view("b", Access::read);
  args.out = call.view("out", Access::write);
  args.op = call.choice("op", Binary::gelu_tanh_backward);
  args.scalar = call.number();
  check_same_shape(args.out, args.a, "a");
  check_same_shape(args.out, args.b, "b");
  return [args](Context& context) { return context.kernels.elementwise.binary(context, args); };
}

// where(condition, a | null, b | null, out); block: condition, [a], [b], out, scalarA, scalarB
auto where(Call& call) {
  WhereArgs args;
  args.condition = call.view("condition", Access::read);
  args.a = call.optional_view("a", Access::read);
  args.b = call.optional_view("b", Access::read);
  args.out = call.view("out", Access::write);
  call.read(args.scalar_a, args.scalar_b);
  check_same_shape(args.out, args.condition, "condition");
  check_same_shape(args.out, args.a, "a");
  check_same_shape(args.out, args.b, "b");
  return [args](Context& context) { return context.kernels.elementwise.where(context, args); };
}

}  // namespace

void register_elementwise(Exports& exports) {
  exports.add<unary>("unary");
  exports.add<binary>("binary");
  exports.add<where>("where");
}

}  // namespace palimpsest::addon
