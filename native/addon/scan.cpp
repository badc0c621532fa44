// Bindings of state-space layers.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// u, delta, a, b, c, d | null, y (forward only), checkpoints
SelectiveScanArgs read_scan(Call& call, bool backward, View& u, View& a, View& b) {
  u = dense(call, "u", Access::read, 3);
  SelectiveScanArgs args{};
  args.dtype = u.dtype;
  args.batch = u.shape[0];
  args.time = u.shape[1];
  args.channels = u.shape[2];
  args.u = u.data;
  args.delta = dense_like(call, "delta", Access::read, u).data;
  a = dense(call, "a", Access::read, 2);
  args.states = a.shape[1];
  b = dense(call, "b", Access::read, 3);
  check(a.dtype == u.dtype && a.shape[0] == args.channels && b.dtype == u.dtype &&
            b.shape[0] == args.batch && b.shape[1] == args.time && b.shape[2] == args.states,
        "'a' must be [channels, states] and 'b' [batch, time, states], of the dtype of 'u'");
  args.a = a.data;
  args.b = b.data;
  args.c = dense_like(call, "c", Access::read, b).data;
  args.d = vector_of(call.optional_view("d", Access::read), "d", u.dtype, args.channels);
  if (!backward) args.y = dense_like(call, "y", Access::write, u).data;
  args.checkpoints =
      vector_of(call.view("checkpoints", backward ? Access::read : Access::write), "checkpoints",
                u.dtype, args.batch * scan_chunks(args.time) * args.channels * args.states);
  return args;
}

// selectiveScan(u, delta, a, b, c, d | null, y, checkpoints)
auto selective(Call& call) {
  View u, a, b;
  const SelectiveScanArgs args = read_scan(call, false, u, a, b);
  return [args](Context& context) { return context.kernels.scan.selective(context, args); };
}

// selectiveScanBackward(u, delta, a, b, c, d | null, checkpoints, dy, du, ddelta, da, db, dc, dd | null)
auto selective_backward(Call& call) {
  View u, a, b;
  SelectiveScanBackwardArgs args{};
  args.forward = read_scan(call, true, u, a, b);
  args.dy = dense_like(call, "dy", Access::read, u).data;
  args.du = dense_like(call, "du", Access::write, u).data;
  args.ddelta = dense_like(call, "ddelta", Access::write, u).data;
  args.da = dense_like(call, "da", Access::write, a).data;
  args.db = dense_like(call, "db", Access::write, b).data;
  args.dc = dense_like(call, "dc", Access::write, b).data;
  args.dd = vector_of(call.optional_view("dd", Access::write), "dd", u.dtype, u.shape[2]);
  return [args](Context& context) { return context.kernels.scan.selective_backward(context, args); };
}

// x, weight, bias | null
CausalConvArgs read_conv(Call& call, View& x, View& weight) {
  x = dense(call, "x", Access::read, 3);
  weight = dense(call, "weight", Access::read, 2);
  check(weight.dtype == x.dtype && weight.shape[0] == x.shape[2] && weight.shape[1] > 0,
        "'weight' must be [channels, taps], of the dtype of 'x'");
  CausalConvArgs args{};
  args.dtype = x.dtype;
  args.batch = x.shape[0];
  args.time = x.shape[1];
  args.channels = x.shape[2];
  args.taps = weight.shape[1];
  args.x = x.data;
  args.weight = weight.data;
  args.bias = vector_of(call.optional_view("bias", Access::read), "bias", x.dtype, args.channels);
  return args;
}

// causalConv(x, weight, bias | null, y)
auto causal_conv(Call& call) {
  View x, weight;
  CausalConvArgs args = read_conv(call, x, weight);
  args.y = dense_like(call, "y", Access::write, x).data;
  return [args](Context& context) { return context.kernels.scan.causal_conv(context, args); };
}

// causalConvBackward(x, weight, null, dy, dx, dweight, dbias | null)
auto causal_conv_backward(Call& call) {
  View x, weight;
  CausalConvBackwardArgs args{};
  args.forward = read_conv(call, x, weight);
  args.dy = dense_like(call, "dy", Access::read, x).data;
  args.dx = dense_like(call, "dx", Access::write, x).data;
  args.dweight = dense_like(call, "dweight", Access::write, weight).data;
  args.dbias = vector_of(call.optional_view("dbias", Access::write), "dbias", x.dtype, x.shape[2]);
  return [args](Context& context) { return context.kernels.scan.causal_conv_backward(context, args); };
}

}  // namespace

void register_scan(Exports& exports) {
  exports.add<selective>("selectiveScan");
  exports.add<selective_backward>("selectiveScanBackward");
  exports.add<causal_conv>("causalConv");
  exports.add<causal_conv_backward>("causalConvBackward");
}

}  // namespace palimpsest::addon
