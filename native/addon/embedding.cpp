// Bindings of embeddings.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

const int32_t* indices_of(Call& call, int64_t& count) {
  const View indices = call.view("indices", Access::read);
  count = indices.size();
  check(indices.rank == 1, "'indices' must have one axis");
  return static_cast<const int32_t*>(vector_of(indices, "indices", DType::i32, count));
}

// gatherRows(table, indices, out)
auto gather(Call& call) {
  const View table = call.view("table", Access::read);
  GatherRowsArgs args{};
  args.indices = indices_of(call, args.count);
  const View out = call.view("out", Access::write);
  check(table.rank == 2 && table.contiguous() && out.rank == 2 && out.contiguous() &&
            out.dtype == table.dtype && out.shape[0] == args.count && out.shape[1] == table.shape[1],
        "'table' and 'out' must be contiguous matrices of one width and dtype");
  args.dtype = table.dtype;
  args.rows = table.shape[0];
  args.width = table.shape[1];
  args.table = table.data;
  args.out = out.data;
  return [args](Context& context) { return context.kernels.embedding.gather(context, args); };
}

// scatterRows(g, indices, out); then skip
auto scatter(Call& call) {
  const View g = dense(call, "g", Access::read, 2);
  ScatterRowsArgs args{};
  args.indices = indices_of(call, args.count);
  const View out = dense(call, "out", Access::write, 2);
  check(out.dtype == g.dtype && g.shape[0] == args.count && out.shape[1] == g.shape[1],
        "'g' and 'out' must agree in width and dtype");
  args.dtype = g.dtype;
  args.rows = out.shape[0];
  args.width = out.shape[1];
  args.g = g.data;
  args.out = out.data;
  args.skip = call.integer("paddingIndex", -1, INT32_MAX);
  return [args](Context& context) { return context.kernels.embedding.scatter(context, args); };
}

}  // namespace

void register_embedding(Exports& exports) {
  exports.add<gather>("gatherRows");
  exports.add<scatter>("scatterRows");
}

}  // namespace palimpsest::addon
