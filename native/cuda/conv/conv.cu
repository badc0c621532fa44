// Windows of images as columns, and back; pooling. Floor: what is read and written, once. Every thread
// owns one output, so that nothing is added to by two threads and results repeat bit by bit: gradients
// gather from the windows that show a pixel, in the order in which the CPU adds them.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

__host__ __device__ inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
__host__ __device__ inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// What kernels need of a call; extents of the output are computed once, on the host.
struct Shape {
  int64_t planes, h, w, oh, ow;
  Window window;

  explicit Shape(const ImageArgs& a)
      : planes(a.n * a.channels), h(a.height), w(a.width), oh(a.window.out_h(a.height)),
        ow(a.window.out_w(a.width)), window(a.window) {}
};

template <typename T>
__global__ void __launch_bounds__(kThreads) im2col_kernel(const Shape s, const T* in, T* out) {
  const Window& w = s.window;
  const int64_t taps = w.kernel_h * w.kernel_w;
  const int64_t total = s.planes * taps * s.oh * s.ow;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t x = i % s.ow;
    const int64_t y = i / s.ow % s.oh;
    const int64_t tap = i / (s.ow * s.oh) % taps;
    const int64_t plane = i / (s.ow * s.oh * taps);
    const int64_t row = y * w.stride_h + tap / w.kernel_w * w.dilation_h - w.padding_h;
    const int64_t column = x * w.stride_w + tap % w.kernel_w * w.dilation_w - w.padding_w;
    const bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
    out[i] = inside ? in[(plane * s.h + row) * s.w + column] : T(0);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) col2im_kernel(const Shape s, const T* in, T* out) {
  const Window& w = s.window;
  const int64_t taps = w.kernel_h * w.kernel_w;
  const int64_t total = s.planes * s.h * s.w;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t column = i % s.w;
    const int64_t row = i / s.w % s.h;
    const int64_t plane = i / (s.w * s.h);
    T sum = T(0);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t top = row + w.padding_h - tap / w.kernel_w * w.dilation_h;
      const int64_t left = column + w.padding_w - tap % w.kernel_w * w.dilation_w;
      if (top < 0 || left < 0 || top % w.stride_h != 0 || left % w.stride_w != 0) continue;
      const int64_t y = top / w.stride_h;
      const int64_t x = left / w.stride_w;
      if (y < s.oh && x < s.ow) sum += in[((plane * taps + tap) * s.oh + y) * s.ow + x];
    }
    out[i] = sum;
  }
}

// The part of an output's window that lies inside the image.
struct Box {
  int64_t top, bottom, left, right;
};
__device__ inline Box box_of(const Shape& s, int64_t y, int64_t x) {
  const int64_t top = y * s.window.stride_h - s.window.padding_h;
  const int64_t left = x * s.window.stride_w - s.window.padding_w;
  return {larger(top, 0), smaller(top + s.window.kernel_h, s.h), larger(left, 0),
          smaller(left + s.window.kernel_w, s.w)};
}

// The outputs [first, last] along one axis whose windows hold a position.
struct Range {
  int64_t first, last;
};
__device__ inline Range outputs_of(int64_t position, int64_t kernel, int64_t stride, int64_t padding,
                                   int64_t outputs) {
  const int64_t reach = position + padding;
  const int64_t first = reach < kernel ? 0 : (reach - kernel) / stride + 1;
  return {first, smaller(reach / stride, outputs - 1)};
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    max_pool_kernel(const Shape s, const T* in, T* out, int32_t* indices) {
  const int64_t total = s.planes * s.oh * s.ow;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const Box b = box_of(s, i / s.ow % s.oh, i % s.ow);
    const T* image = in + i / (s.ow * s.oh) * s.h * s.w;
    int64_t best = b.top * s.w + b.left;
    for (int64_t y = b.top; y < b.bottom; ++y) {
      for (int64_t x = b.left; x < b.right; ++x) {
        const int64_t at = y * s.w + x;
        if (image[at] > image[best] || (image[at] != image[at] && image[best] == image[best])) best = at;
      }
    }
    out[i] = image[best];
    indices[i] = static_cast<int32_t>(best);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(const Shape s, const T* in, T* out, const int32_t* indices) {
  const Window& w = s.window;
  const int64_t total = s.planes * s.h * s.w;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t pixel = i % (s.h * s.w);
    const int64_t base = i / (s.h * s.w) * s.oh * s.ow;
    const Range ys = outputs_of(pixel / s.w, w.kernel_h, w.stride_h, w.padding_h, s.oh);
    const Range xs = outputs_of(pixel % s.w, w.kernel_w, w.stride_w, w.padding_w, s.ow);
    T sum = T(0);
    for (int64_t y = ys.first; y <= ys.last; ++y) {
      for (int64_t x = xs.first; x <= xs.last; ++x) {
        const int64_t at = base + y * s.ow + x;
        if (indices[at] == pixel) sum += in[at];
      }
    }
    out[i] = sum;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) avg_pool_kernel(const Shape s, const T* in, T* out) {
  const T scale = T(1) / static_cast<T>(s.window.kernel_h * s.window.kernel_w);
  const int64_t total = s.planes * s.oh * s.ow;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const Box b = box_of(s, i / s.ow % s.oh, i % s.ow);
    const T* image = in + i / (s.ow * s.oh) * s.h * s.w;
    T sum = T(0);
    for (int64_t y = b.top; y < b.bottom; ++y) {
      for (int64_t x = b.left; x < b.right; ++x) sum += image[y * s.w + x];
    }
    out[i] = sum * scale;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) avg_pool_backward_kernel(const Shape s, const T* in, T* out) {
  const Window& w = s.window;
  const T scale = T(1) / static_cast<T>(w.kernel_h * w.kernel_w);
  const int64_t total = s.planes * s.h * s.w;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t pixel = i % (s.h * s.w);
    const int64_t base = i / (s.h * s.w) * s.oh * s.ow;
    const Range ys = outputs_of(pixel / s.w, w.kernel_h, w.stride_h, w.padding_h, s.oh);
    const Range xs = outputs_of(pixel % s.w, w.kernel_w, w.stride_w, w.padding_w, s.ow);
    T sum = T(0);
    for (int64_t y = ys.first; y <= ys.last; ++y) {
      for (int64_t x = xs.first; x <= xs.last; ++x) sum += in[base + y * s.ow + x] * scale;
    }
    out[i] = sum;
  }
}

enum class Size { columns, image, outputs };

int64_t elements(const ImageArgs& a, Size size) {
  const Shape s(a);
  if (size == Size::image) return s.planes * s.h * s.w;
  const int64_t outputs = s.planes * s.oh * s.ow;
  return size == Size::outputs ? outputs : outputs * a.window.kernel_h * a.window.kernel_w;
}

template <typename T, typename Kernel, typename... More>
Status start(Context& context, Kernel kernel, const ImageArgs& a, Size size, More... more) {
  const int64_t n = elements(a, size);
  if (n == 0) return {};
  return launch(context, kernel, blocks_for(context, n, kThreads), kThreads, 0, Shape(a),
                static_cast<const T*>(a.in), static_cast<T*>(a.out), more...);
}

#define BY_DTYPE(image, kernel, size, ...)                                                         \
  ((image).dtype == DType::f64                                                                     \
       ? start<double>(c, kernel<double>, image, size __VA_OPT__(, ) __VA_ARGS__)                  \
       : start<float>(c, kernel<float>, image, size __VA_OPT__(, ) __VA_ARGS__))

}  // namespace

void fill_conv(KernelTable& table) {
  table.conv = {
      .im2col = [](Context& c, const ImageArgs& a) { return BY_DTYPE(a, im2col_kernel, Size::columns); },
      .col2im = [](Context& c, const ImageArgs& a) { return BY_DTYPE(a, col2im_kernel, Size::image); },
      .max_pool =
          [](Context& c, const PoolArgs& a) {
            return BY_DTYPE(a.image, max_pool_kernel, Size::outputs, a.indices);
          },
      .max_pool_backward =
          [](Context& c, const PoolArgs& a) {
            const int32_t* indices = a.indices;
            return BY_DTYPE(a.image, max_pool_backward_kernel, Size::image, indices);
          },
      .avg_pool = [](Context& c, const ImageArgs& a) { return BY_DTYPE(a, avg_pool_kernel, Size::outputs); },
      .avg_pool_backward =
          [](Context& c, const ImageArgs& a) { return BY_DTYPE(a, avg_pool_backward_kernel, Size::image); },
  };
}

}  // namespace palimpsest::cuda
