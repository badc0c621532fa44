// Bindings of the fused kernels of neural networks.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// softmax(x, y); block: x, y, logarithm
auto softmax(Call& call) {
  const View x = dense(call, "x", Access::read, 2);
  const View y = dense_like(call, "y", Access::write, x);
  const SoftmaxArgs args{x.dtype, x.shape[0], x.shape[1], call.flag(), x.data, y.data};
  return [args](Context& context) { return context.kernels.nn.softmax(context, args); };
}

// softmaxBackward(dy, y, dx); block: dy, y, dx, logarithm
auto softmax_backward(Call& call) {
  const View dy = dense(call, "dy", Access::read, 2);
  const View y = dense_like(call, "y", Access::read, dy);
  const View dx = dense_like(call, "dx", Access::write, dy);
  const SoftmaxBackwardArgs args{dy.dtype, dy.shape[0], dy.shape[1], call.flag(),
                                 dy.data,  y.data,      dx.data};
  return [args](Context& context) { return context.kernels.nn.softmax_backward(context, args); };
}

// x, targets, weights | null, loss, normaliser; then smoothing, ignore
CrossEntropyArgs read_cross_entropy(Call& call, Access results) {
  const View x = dense(call, "x", Access::read, 2);
  CrossEntropyArgs args{};
  args.dtype = x.dtype;
  args.rows = x.shape[0];
  args.width = x.shape[1];
  args.x = x.data;
  args.targets = static_cast<const int32_t*>(
      vector_of(call.view("targets", Access::read), "targets", DType::i32, args.rows));
  args.weights =
      vector_of(call.optional_view("weights", Access::read), "weights", x.dtype, args.width);
  args.loss = vector_of(call.view("loss", results), "loss", x.dtype, args.rows);
  args.normaliser = vector_of(call.view("normaliser", results), "normaliser", x.dtype, args.rows);
  args.smoothing = call.number();
  if (!(args.smoothing >= 0 && args.smoothing <= 1)) {
    refuse(Code::argument, "'labelSmoothing' must lie in [0, 1]");
  }
  args.ignore = static_cast<int32_t>(call.integer("ignoreIndex", INT32_MIN, INT32_MAX));
  return args;
}

auto cross_entropy(Call& call) {
  const CrossEntropyArgs args = read_cross_entropy(call, Access::write);
  return [args](Context& context) { return context.kernels.nn.cross_entropy(context, args); };
}

// …, then scale (one value, or one a row), dx
auto cross_entropy_backward(Call& call) {
  CrossEntropyBackwardArgs args{};
  args.forward = read_cross_entropy(call, Access::read);
  const View scale = call.view("scale", Access::read);
  if (scale.dtype != args.forward.dtype ||
      (scale.size() != 1 && scale.size() != args.forward.rows) || !scale.contiguous()) {
    refuse(Code::shape, "'scale' must hold one value, or one a row");
  }
  args.scale = scale.data;
  args.scale_stride = scale.size() == 1 ? 0 : 1;
  const View dx = dense(call, "dx", Access::write, 2);
  if (dx.shape[0] != args.forward.rows || dx.shape[1] != args.forward.width ||
      dx.dtype != args.forward.dtype) {
    refuse(Code::shape, "'dx' must have the shape of the logits");
  }
  args.dx = dx.data;
  return [args](Context& context) {
    return context.kernels.nn.cross_entropy_backward(context, args);
  };
}

}  // namespace

void register_nn(Exports& exports) {
  exports.add<softmax>("softmax");
  exports.add<softmax_backward>("softmaxBackward");
  exports.add<cross_entropy>("crossEntropy");
  exports.add<cross_entropy_backward>("crossEntropyBackward");
}

}  // namespace palimpsest::addon
