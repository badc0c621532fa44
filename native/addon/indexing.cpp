// Bindings of gather, scatter and nonzero.

#include "addon/bindings.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

bool same_shape(const View& a, const View& b, int except = -1) {
  bool same = a.rank == b.rank;
  for (int i = 0; same && i < a.rank; ++i) same = i == except || a.shape[i] == b.shape[i];
  return same;
}

// The axis along which `index` picks entries of `whole`; `part` has the index's shape.
int read_axis(Call& call, const View& whole, const View& index, const View& part) {
  if (index.dtype != DType::i32) refuse(Code::dtype, "'index' must be int32");
  if (whole.rank == 0) refuse(Code::shape, "a scalar has no axis to index");
  const int axis = static_cast<int>(call.integer("axis", 0, whole.rank - 1));
  if (!same_shape(index, part) || !same_shape(index, whole, axis)) {
    refuse(Code::shape, "'index' must have the shape of what is picked, which may differ from that "
                        "of the whole along the axis alone");
  }
  if (part.dtype != whole.dtype) refuse(Code::dtype, "what is picked must have the dtype of the whole");
  return axis;
}

// gather(in, index, out); block: in, index, out, axis
auto gather(Call& call) {
  GatherArgs args;
  args.in = call.view("in", Access::read);
  args.index = call.view("index", Access::read);
  args.out = call.view("out", Access::write);
  args.axis = read_axis(call, args.in, args.index, args.out);
  return [args](Context& context) { return context.kernels.indexing.gather(context, args); };
}

// scatter(out, index, src); block: out, index, src, axis, mode
auto scatter(Call& call) {
  ScatterArgs args;
  args.out = call.view("out", Access::update);
  args.index = call.view("index", Access::read);
  args.src = call.view("src", Access::read);
  args.axis = read_axis(call, args.out, args.index, args.src);
  args.mode = call.choice("mode", Scatter::minimum);
  return [args](Context& context) { return context.kernels.indexing.scatter(context, args); };
}

// nonzero(in, positions | null) → count; block: in, [positions]
auto nonzero(Call& call) {
  const View in = call.view("in", Access::read);
  const View positions = call.optional_view("positions", Access::write);
  if (!in.contiguous()) refuse(Code::shape, "'in' must be contiguous");
  if (positions.data != nullptr && (positions.dtype != DType::i32 || !positions.contiguous())) {
    refuse(Code::dtype, "'positions' must be contiguous int32");
  }
  double* result = call.result();
  return [in, positions, result](Context& context) -> Status {
    int64_t count = 0;
    if (positions.data != nullptr) {
      // Counted first: another thread may have changed what a caller counted.
      PALIMPSEST_TRY(context.kernels.indexing.nonzero(context, in, nullptr, count));
      if (count != positions.size()) return {Code::shape, "'positions' has another length"};
    }
    auto* to = positions.as<int32_t>();
    Status status = context.kernels.indexing.nonzero(context, in, to, count);
    *result = static_cast<double>(count);
    return status;
  };
}

}  // namespace

void register_indexing(Exports& exports) {
  exports.add<gather>("gather");
  exports.add<scatter>("scatter");
  exports.add<nonzero>("nonzero");
}

}  // namespace palimpsest::addon
