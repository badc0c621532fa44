// Bindings of the fused kernels of neural networks.

#include "addon/bindings.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// A contiguous view of rank 2 and of the dtype of `like` (float32 or float64).
View rows_of(Call& call, const char* name, Access access, const View* like = nullptr) {
  const View view = call.view(name, access);
  if (view.rank != 2 || !view.contiguous()) {
    refuse(Code::shape, std::string("'") + name + "' must be a contiguous matrix");
  }
  if (view.dtype != DType::f32 && view.dtype != DType::f64) {
    refuse(Code::dtype, std::string("'") + name + "' must be float32 or float64");
  }
  if (like != nullptr && (view.dtype != like->dtype || view.shape[0] != like->shape[0] ||
                          view.shape[1] != like->shape[1])) {
    refuse(Code::shape, std::string("'") + name + "' must have the shape and dtype of the input");
  }
  return view;
}

// softmax(x, y); block: x, y, logarithm
auto softmax(Call& call) {
  const View x = rows_of(call, "x", Access::read);
  const View y = rows_of(call, "y", Access::write, &x);
  const SoftmaxArgs args{x.dtype, x.shape[0], x.shape[1], call.flag(), x.data, y.data};
  return [args](Context& context) { return context.kernels.nn.softmax(context, args); };
}

// softmaxBackward(dy, y, dx); block: dy, y, dx, logarithm
auto softmax_backward(Call& call) {
  const View dy = rows_of(call, "dy", Access::read);
  const View y = rows_of(call, "y", Access::read, &dy);
  const View dx = rows_of(call, "dx", Access::write, &dy);
  const SoftmaxBackwardArgs args{dy.dtype, dy.shape[0], dy.shape[1], call.flag(),
                                 dy.data,  y.data,      dx.data};
  return [args](Context& context) { return context.kernels.nn.softmax_backward(context, args); };
}

const void* vector_of(const View& view, const char* name, DType dtype, int64_t length) {
  if (view.data == nullptr) return nullptr;
  if (view.rank != 1 || view.shape[0] != length || !view.contiguous() || view.dtype != dtype) {
    refuse(Code::shape, std::string("'") + name + "' must be a contiguous vector of " +
                            std::to_string(length) + " values of " + name_of(dtype));
  }
  return view.data;
}

// x, targets, weights | null, loss, normaliser; then smoothing, ignore
CrossEntropyArgs read_cross_entropy(Call& call, Access results) {
  const View x = rows_of(call, "x", Access::read);
  CrossEntropyArgs args{};
  args.dtype = x.dtype;
  args.rows = x.shape[0];
  args.width = x.shape[1];
  args.x = x.data;
  args.targets = static_cast<const int32_t*>(
      vector_of(call.view("targets", Access::read), "targets", DType::i32, args.rows));
  args.weights =
      vector_of(call.optional_view("weights", Access::read), "weights", x.dtype, args.width);
  args.loss = const_cast<void*>(
      vector_of(call.view("loss", results), "loss", x.dtype, args.rows));
  args.normaliser = const_cast<void*>(
      vector_of(call.view("normaliser", results), "normaliser", x.dtype, args.rows));
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
  const View dx = rows_of(call, "dx", Access::write);
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
