// Convolution: by the direct kernels where they can, else as matrix products over columns of windows, a few images at a time so that the columns'
// memory stays bounded. Floor: 2·n·o·oh·ow·(c/groups)·kh·kw FLOPs.

#include "palimpsest/ops/conv.h"

#include <algorithm>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

constexpr int64_t kColumnElements = int64_t{1} << 21;  // of one chunk of images

struct Geometry {
  int64_t oh, ow, pixels;          // of an output plane
  int64_t group_in, group_out;     // channels a group
  int64_t depth;                   // values a window of one group has
  int64_t image, columns, output;  // elements an image has: input, columns, output
  int64_t chunk;                   // images at a time

  explicit Geometry(const ConvArgs& a)
      : oh(a.window.out_h(a.h)),
        ow(a.window.out_w(a.w)),
        pixels(oh * ow),
        group_in(a.c / a.groups),
        group_out(a.o / a.groups),
        depth(group_in * a.window.kernel_h * a.window.kernel_w),
        image(a.c * a.h * a.w),
        columns(a.groups * depth * pixels),
        output(a.o * pixels),
        chunk(std::clamp<int64_t>(kColumnElements / std::max<int64_t>(columns, 1), 1,
                                  std::max<int64_t>(a.n, 1))) {}
};

std::byte* at(const void* data, int64_t index, DType dtype) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(data)) +
         index * static_cast<int64_t>(size_of(dtype));
}

Status multiply(Context& context, const ConvArgs& a, const GemmArgs& gemm) {
  return (a.dtype == DType::f64 ? context.kernels.gemm.f64 : context.kernels.gemm.f32)(context, gemm);
}

ImageArgs images(const ConvArgs& a, int64_t n, const void* in, void* out) {
  return {a.dtype, n, a.c, a.h, a.w, a.window, in, out};
}

// The columns of group `g`: depth × pixels, a batch of images.
Matrix columns_of(const ConvArgs& a, const Geometry& s, void* data, int64_t g) {
  return {at(data, g * s.depth * s.pixels, a.dtype), a.dtype, s.depth, s.pixels, s.pixels, 1,
          s.columns};
}
// The outputs of group g: group_out × pixels, a batch of images from `first` on.
Matrix outputs_of(const ConvArgs& a, const Geometry& s, const void* data, int64_t first, int64_t g) {
  return {at(data, first * s.output + g * s.group_out * s.pixels, a.dtype), a.dtype, s.group_out,
          s.pixels, s.pixels, 1, s.output};
}
Matrix weights_of(const ConvArgs& a, const Geometry& s, const void* data, int64_t g) {
  return {at(data, g * s.group_out * s.depth, a.dtype), a.dtype, s.group_out, s.depth, s.depth, 1, 0};
}

// Kernels of one tap that stay where they are: an image's pixels are its columns already, and the matrix product
// is faster than the direct kernels where both have channels enough.
bool is_pointwise(const ConvArgs& a) {
  const Window& w = a.window;
  return w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 && w.padding_h == 0 &&
         w.padding_w == 0 && a.groups == 1 && a.c >= 16 && a.o >= 16;
}

// Whether the direct kernels take it: stride 1, and a padding that the transposed one has too.
bool is_direct(const Context& context, const ConvArgs& a) {
  const Window& w = a.window;
  return context.kernels.conv.direct != nullptr && a.c > 0 && !is_pointwise(a) && w.stride_h == 1 && w.stride_w == 1 &&
         w.padding_h <= w.dilation_h * (w.kernel_h - 1) && w.padding_w <= w.dilation_w * (w.kernel_w - 1);
}

DirectConvArgs direct_args(const ConvArgs& a) {
  DirectConvArgs d{};
  d.dtype = a.dtype;
  d.n = a.n;
  d.c = a.c;
  d.h = a.h;
  d.w = a.w;
  d.o = a.o;
  d.groups = a.groups;
  d.window = a.window;
  return d;
}

// The columns of some images at a time: laid out in scratch memory, or the images themselves.
class Columns {
 public:
  Columns(Context& context, const ConvArgs& args, const Geometry& s)
      : context_(context), args_(args), s_(s),
        memory_(is_pointwise(args) ? nullptr
                                   : context.workspace.take_bytes(static_cast<size_t>(s.chunk * s.columns) *
                                                                  size_of(args.dtype))) {}

  Status of(const void* x, int64_t first, int64_t n, void*& columns) const {
    void* const from = at(x, first * s_.image, args_.dtype);
    columns = memory_ == nullptr ? from : memory_;
    if (memory_ == nullptr) return {};
    return context_.kernels.conv.im2col(context_, images(args_, n, from, columns));
  }

 private:
  Context& context_;
  const ConvArgs& args_;
  const Geometry& s_;
  void* memory_;
};

}  // namespace

Status conv2d(Context& context, const ConvArgs& args, const void* x, const void* weight,
              const void* bias, void* y) {
  const Geometry s(args);
  if (args.n == 0 || s.output == 0) return {};
  if (is_direct(context, args)) {
    DirectConvArgs direct = direct_args(args);
    direct.x = x;
    direct.weight = weight;
    direct.bias = bias;
    direct.relu = args.activation == Activation::relu;
    direct.y = y;
    return context.kernels.conv.direct(context, direct);
  }
  const Workspace::Scope scope(context.workspace);
  Columns source(context, args, s);
  for (int64_t first = 0; first < args.n; first += s.chunk) {
    const int64_t n = std::min(s.chunk, args.n - first);
    void* columns = nullptr;
    PALIMPSEST_TRY(source.of(x, first, n, columns));
    for (int64_t g = 0; g < args.groups; ++g) {
      // Transposed, so that the bias of a channel is one a column.
      GemmArgs gemm;
      gemm.a = columns_of(args, s, columns, g).transposed();
      gemm.b = weights_of(args, s, weight, g).transposed();
      gemm.d = outputs_of(args, s, y, first, g).transposed();
      gemm.bias = bias == nullptr ? nullptr : at(bias, g * s.group_out, args.dtype);
      gemm.activation = args.activation;
      gemm.batch = n;
      PALIMPSEST_TRY(multiply(context, args, gemm));
    }
  }
  return {};
}

Status conv2d_backward_data(Context& context, const ConvArgs& args, const void* dy,
                            const void* weight, void* dx) {
  const Geometry s(args);
  if (is_direct(context, args) && args.n > 0 && s.output > 0 && s.image > 0) {
    // A convolution of the outputs' gradient with the taps reversed.
    const Window& w = args.window;
    DirectConvArgs direct = direct_args(args);
    direct.c = args.o;
    direct.h = s.oh;
    direct.w = s.ow;
    direct.o = args.c;
    direct.window.padding_h = w.dilation_h * (w.kernel_h - 1) - w.padding_h;
    direct.window.padding_w = w.dilation_w * (w.kernel_w - 1) - w.padding_w;
    direct.x = dy;
    direct.weight = weight;
    direct.transposed = true;
    direct.y = dx;
    return context.kernels.conv.direct(context, direct);
  }
  const Workspace::Scope scope(context.workspace);
  const bool pointwise = is_pointwise(args);
  void* columns = pointwise ? nullptr
                            : context.workspace.take_bytes(static_cast<size_t>(s.chunk * s.columns) *
                                                           size_of(args.dtype));
  for (int64_t first = 0; first < args.n; first += s.chunk) {
    const int64_t n = std::min(s.chunk, args.n - first);
    if (pointwise) columns = at(dx, first * s.image, args.dtype);
    for (int64_t g = 0; g < args.groups; ++g) {
      GemmArgs gemm;
      gemm.a = weights_of(args, s, weight, g).transposed();
      gemm.b = outputs_of(args, s, dy, first, g);
      gemm.d = columns_of(args, s, columns, g);
      gemm.batch = n;
      PALIMPSEST_TRY(multiply(context, args, gemm));
    }
    if (pointwise) continue;
    PALIMPSEST_TRY(context.kernels.conv.col2im(
        context, images(args, n, columns, at(dx, first * s.image, args.dtype))));
  }
  return {};
}

Status conv2d_backward_weight(Context& context, const ConvArgs& args, const void* dy, const void* x,
                              void* dweight) {
  const Geometry s(args);
  const int64_t size = args.o * s.depth;
  if (is_direct(context, args) && args.n > 0 && s.output > 0 && size > 0) {
    DirectConvArgs direct = direct_args(args);
    direct.x = x;
    direct.y = const_cast<void*>(dy);
    direct.dweight = dweight;
    return context.kernels.conv.direct_weight(context, direct);
  }
  const Workspace::Scope scope(context.workspace);
  Columns source(context, args, s);
  // One product an image, then their sum in a fixed order; the running sum is the first entry.
  void* partial = context.workspace.take_bytes(static_cast<size_t>((s.chunk + 1) * size) *
                                               size_of(args.dtype));
  const auto view = [&](void* data, int64_t rows) {
    View v = contiguous_view(static_cast<float*>(nullptr), {rows, size});
    v.data = data;
    v.dtype = args.dtype;
    return v;
  };
  const auto set_to_zero = [&](void* data) {
    return context.kernels.elementwise.binary(
        context, {Binary::maximum, view(data, 1), {}, {}, 0.0});
  };
  PALIMPSEST_TRY(set_to_zero(partial));
  if (args.n == 0) return set_to_zero(dweight);
  for (int64_t first = 0; first < args.n; first += s.chunk) {
    const int64_t n = std::min(s.chunk, args.n - first);
    void* columns = nullptr;
    PALIMPSEST_TRY(source.of(x, first, n, columns));
    for (int64_t g = 0; g < args.groups; ++g) {
      GemmArgs gemm;
      gemm.a = outputs_of(args, s, dy, first, g);
      gemm.b = columns_of(args, s, columns, g).transposed();
      gemm.d = weights_of(args, s, at(partial, size, args.dtype), g);
      gemm.d.batch_stride = size;
      gemm.batch = n;
      PALIMPSEST_TRY(multiply(context, args, gemm));
    }
    PALIMPSEST_TRY(context.kernels.reduce.reduce(
        context, {Reduction::sum, view(dweight, 1), view(partial, n + 1), 0b01}));
    PALIMPSEST_TRY(context.kernels.elementwise.unary(
        context, {Unary::copy, view(partial, 1), view(dweight, 1)}));
  }
  return {};
}

}  // namespace palimpsest
