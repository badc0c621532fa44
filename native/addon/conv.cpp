// Bindings of convolution and pooling.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/ops/conv.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;

Window read_window(Call& call) {
  Window w;
  w.kernel_h = call.integer("kernel", 1, kMost);
  w.kernel_w = call.integer("kernel", 1, kMost);
  w.stride_h = call.integer("stride", 1, kMost);
  w.stride_w = call.integer("stride", 1, kMost);
  w.padding_h = call.integer("padding", 0, kMost);
  w.padding_w = call.integer("padding", 0, kMost);
  w.dilation_h = call.integer("dilation", 1, kMost);
  w.dilation_w = call.integer("dilation", 1, kMost);
  return w;
}

View images(Call& call, const char* name, Access access) { return dense(call, name, access, 4); }

struct Convolution {
  ConvArgs args;
  View x, weight, y;
};

// x, weight, y in this order of arguments; then the window and groups.
Convolution read_convolution(Call& call, Access x, Access weight, Access y) {
  Convolution c;
  c.x = images(call, "x", x);
  c.weight = images(call, "weight", weight);
  c.y = images(call, "y", y);
  c.args.window = read_window(call);
  const Window& w = c.args.window;
  c.args.groups = call.integer("groups", 1, kMost);
  c.args.dtype = c.x.dtype;
  c.args.n = c.x.shape[0];
  c.args.c = c.x.shape[1];
  c.args.h = c.x.shape[2];
  c.args.w = c.x.shape[3];
  c.args.o = c.weight.shape[0];
  check(c.weight.dtype == c.x.dtype && c.y.dtype == c.x.dtype, "'x', 'weight' and 'y' differ in dtype");
  check(c.args.c % c.args.groups == 0 && c.args.o % c.args.groups == 0 &&
            c.weight.shape[1] == c.args.c / c.args.groups,
        "the channels do not fit the weight and the groups");
  check(c.weight.shape[2] == w.kernel_h && c.weight.shape[3] == w.kernel_w,
        "the weight does not have the kernel's extent");
  check(c.args.h + 2 * w.padding_h >= w.dilation_h * (w.kernel_h - 1) + 1 &&
            c.args.w + 2 * w.padding_w >= w.dilation_w * (w.kernel_w - 1) + 1,
        "the kernel is larger than the padded image");
  check(c.y.shape[0] == c.args.n && c.y.shape[1] == c.args.o &&
            c.y.shape[2] == w.out_h(c.args.h) && c.y.shape[3] == w.out_w(c.args.w),
        "'y' does not have the output's shape");
  return c;
}

// conv2d(bias | null, x, weight, y): the block ends with the activation, none or relu
auto forward(Call& call) {
  const View bias = call.optional_view("bias", Access::read);
  Convolution c = read_convolution(call, Access::read, Access::read, Access::write);
  c.args.activation = call.choice("activation", Activation::relu);
  check(bias.data == nullptr || (bias.rank == 1 && bias.shape[0] == c.args.o && bias.contiguous() &&
                                 bias.dtype == c.args.dtype),
        "'bias' must hold one value a channel");
  return [c, bias](Context& context) {
    return conv2d(context, c.args, c.x.data, c.weight.data, bias.data, c.y.data);
  };
}

// conv2dBackwardData(dx, weight, dy)
auto backward_data(Call& call) {
  const Convolution c = read_convolution(call, Access::write, Access::read, Access::read);
  return [c](Context& context) {
    return conv2d_backward_data(context, c.args, c.y.data, c.weight.data, c.x.data);
  };
}

// conv2dBackwardWeight(x, dweight, dy)
auto backward_weight(Call& call) {
  const Convolution c = read_convolution(call, Access::read, Access::write, Access::read);
  return [c](Context& context) {
    return conv2d_backward_weight(context, c.args, c.y.data, c.x.data, c.weight.data);
  };
}

// x, y (both images), then the window.
ImageArgs read_pool(Call& call, Access x_access, Access y_access, bool backward) {
  const View x = images(call, "x", x_access);
  const View y = images(call, "y", y_access);
  const Window w = read_window(call);
  check(x.dtype == y.dtype && y.shape[0] == x.shape[0] && y.shape[1] == x.shape[1],
        "'x' and 'y' must agree in dtype, images and channels");
  check(2 * w.padding_h <= w.kernel_h && 2 * w.padding_w <= w.kernel_w && w.dilation_h == 1 &&
            w.dilation_w == 1 && x.shape[2] + 2 * w.padding_h >= w.kernel_h &&
            x.shape[3] + 2 * w.padding_w >= w.kernel_w,
        "the pooling window must fit the image, and padding at most half of it");
  check(y.shape[2] == w.out_h(x.shape[2]) && y.shape[3] == w.out_w(x.shape[3]),
        "'y' does not have the output's shape");
  return {x.dtype,    x.shape[0], x.shape[1], x.shape[2], x.shape[3], w,
          backward ? y.data : x.data, backward ? x.data : y.data};
}

int32_t* read_indices(Call& call, Access access, const ImageArgs& image) {
  const View indices = call.view("indices", access);
  const int64_t outputs = image.n * image.channels * image.window.out_h(image.height) *
                          image.window.out_w(image.width);
  check(indices.dtype == DType::i32 && indices.contiguous() && indices.size() == outputs,
        "'indices' must hold one int32 an output");
  return indices.as<int32_t>();
}

// maxPool(x, y, indices): the block holds x, y, the window, indices
template <bool kBackward>
auto max_pool(Call& call) {
  PoolArgs args{};
  args.image = read_pool(call, kBackward ? Access::write : Access::read,
                         kBackward ? Access::read : Access::write, kBackward);
  args.indices = read_indices(call, kBackward ? Access::read : Access::write, args.image);
  return [args](Context& context) {
    const ConvKernels& kernels = context.kernels.conv;
    return (kBackward ? kernels.max_pool_backward : kernels.max_pool)(context, args);
  };
}

template <bool kBackward>
auto avg_pool(Call& call) {
  const ImageArgs args = read_pool(call, kBackward ? Access::write : Access::read,
                                   kBackward ? Access::read : Access::write, kBackward);
  return [args](Context& context) {
    const ConvKernels& kernels = context.kernels.conv;
    return (kBackward ? kernels.avg_pool_backward : kernels.avg_pool)(context, args);
  };
}

}  // namespace

void register_conv(Exports& exports) {
  exports.add<forward>("conv2d");
  exports.add<backward_data>("conv2dBackwardData");
  exports.add<backward_weight>("conv2dBackwardWeight");
  exports.add<max_pool<false>>("maxPool");
  exports.add<max_pool<true>>("maxPoolBackward");
  exports.add<avg_pool<false>>("avgPool");
  exports.add<avg_pool<true>>("avgPoolBackward");
}

}  // namespace palimpsest::addon
