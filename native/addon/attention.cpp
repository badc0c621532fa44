// Bindings of attention.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// [batch, heads, time, width], unit stride along the width; any time and width where they are −1.
View heads_of(Call& call, const char* name, Access access, const View* like, int64_t time,
              int64_t width) {
  const View view = call.view(name, access);
  const bool fits =
      view.rank == 4 && (view.shape[3] == 1 || view.strides[3] == 1) &&
      (view.dtype == DType::f32 || view.dtype == DType::f64) &&
      (like == nullptr || (view.dtype == like->dtype && view.shape[0] == like->shape[0] &&
                           view.shape[1] == like->shape[1])) &&
      (time < 0 || view.shape[2] == time) && (width < 0 || view.shape[3] == width);
  if (!fits) {
    refuse(Code::shape, std::string("'") + name +
                            "' must be float32 or float64 [batch, heads, time, width] as its "
                            "neighbours have them, with unit stride along the width");
  }
  return view;
}

// q, k, v, mask | null, out, lse; then causal, scale
AttentionArgs read_attention(Call& call, Access results) {
  AttentionArgs a;
  a.q = heads_of(call, "q", Access::read, nullptr, -1, -1);
  a.k = heads_of(call, "k", Access::read, &a.q, -1, a.q.shape[3]);
  a.v = heads_of(call, "v", Access::read, &a.q, a.k.shape[2], -1);
  const int64_t queries = a.q.shape[2], keys = a.k.shape[2];
  a.mask = call.optional_view("mask", Access::read);
  const View& m = a.mask;
  check(m.data == nullptr ||
            (m.rank == 4 && (m.dtype == DType::boolean || m.dtype == DType::u8) &&
             m.shape[0] == a.q.shape[0] && m.shape[1] == a.q.shape[1] && m.shape[2] == queries &&
             m.shape[3] == keys),
        "'mask' must be bool or uint8 [batch, heads, queries, keys]");
  a.out = heads_of(call, "out", results, &a.q, queries, a.v.shape[3]);
  a.lse = vector_of(call.view("lse", results), "lse", a.q.dtype,
                    a.q.shape[0] * a.q.shape[1] * queries);
  call.read(a.causal, a.scale);
  check(keys > 0, "attention needs at least one key");
  return a;
}

// attention(q, k, v, mask | null, out, lse)
auto forward(Call& call) {
  const AttentionArgs args = read_attention(call, Access::write);
  return [args](Context& context) { return context.kernels.attention.forward(context, args); };
}

// attentionBackward(q, k, v, mask | null, out, lse, dout, dq, dk, dv); causal and scale stand after lse
auto backward(Call& call) {
  AttentionBackwardArgs args;
  args.forward = read_attention(call, Access::read);
  const AttentionArgs& a = args.forward;
  args.dout = heads_of(call, "dout", Access::read, &a.q, a.q.shape[2], a.v.shape[3]);
  args.dq = heads_of(call, "dq", Access::write, &a.q, a.q.shape[2], a.q.shape[3]);
  args.dk = heads_of(call, "dk", Access::write, &a.q, a.k.shape[2], a.k.shape[3]);
  args.dv = heads_of(call, "dv", Access::write, &a.q, a.k.shape[2], a.v.shape[3]);
  return [args](Context& context) { return context.kernels.attention.backward(context, args); };
}

}  // namespace

void register_attention(Exports& exports) {
  exports.add<forward>("attention");
  exports.add<backward>("attentionBackward");
}

}  // namespace palimpsest::addon
