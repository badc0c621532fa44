// Bindings of reductions.

#include "addon/bindings.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// reduce(in, out); block: in, out, op, axes (bit mask)
auto reduce(Call& call) {
  ReduceArgs args;
  args.in = call.view("in", Access::read);
  args.out = call.view("out", Access::write);
  args.op = call.choice("op", Reduction::all);
  args.axes = static_cast<uint32_t>(call.integer("axes", 0, (1 << kMaxRank) - 1));
  bool fits = args.in.rank == args.out.rank;
  for (int i = 0; fits && i < args.in.rank; ++i) {
    fits = args.out.shape[i] == ((args.axes >> i & 1) != 0 ? 1 : args.in.shape[i]);
  }
  if (!fits) refuse(Code::shape, "'out' must have extent 1 along the reduced axes of 'in'");
  return [args](Context& context) { return context.kernels.reduce.reduce(context, args); };
}

// cumulative(in, out); block: in, out, op, axis, reverse
auto cumulative(Call& call) {
  CumulativeArgs args;
  const View& in = args.in = call.view("in", Access::read);
  const View& out = args.out = call.view("out", Access::write);
  args.op = call.choice("op", Cumulative::min);
  if (in.rank == 0) refuse(Code::shape, "'in' must have at least one axis");
  args.axis = static_cast<int>(call.integer("axis", 0, in.rank - 1));
  args.reverse = call.flag();
  bool same = in.rank == out.rank;
  for (int i = 0; same && i < in.rank; ++i) same = in.shape[i] == out.shape[i];
  if (!same) refuse(Code::shape, "'out' must have the shape of 'in'");
  if (in.dtype != out.dtype) refuse(Code::dtype, "'out' must have the dtype of 'in'");
  return [args](Context& context) { return context.kernels.reduce.cumulative(context, args); };
}

// allFinite(in) → 1 or 0; block: in
auto all_finite(Call& call) {
  const View in = call.view("in", Access::read);
  double* result = call.result();
  return [in, result](Context& context) {
    bool finite = true;
    Status status = context.kernels.reduce.all_finite(context, in, finite);
    *result = finite ? 1 : 0;
    return status;
  };
}

}  // namespace

void register_reduce(Exports& exports) {
  exports.add<reduce>("reduce");
  exports.add<cumulative>("cumulative");
  exports.add<all_finite>("allFinite");
}

}  // namespace palimpsest::addon
