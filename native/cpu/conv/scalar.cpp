// Windows of images as columns, and back. Floor: the columns written once (im2col) or read once; runs
// of a row that lie inside the image are copied as a whole. One plane is one task, so that nothing is
// added to from two threads.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "cpu/pool/pool.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

// Output columns [begin, end) whose window column lies inside the image.
struct Range {
  int64_t begin, end;
};
Range inside(int64_t offset, int64_t stride, int64_t extent, int64_t outputs) {
  const int64_t begin = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int64_t last = extent - 1 - offset;
  const int64_t end = last < 0 ? 0 : std::min(outputs, last / stride + 1);
  return {std::min(begin, outputs), std::max(end, std::min(begin, outputs))};
}

template <typename T>
Status im2col(Context& context, const ImageArgs& a) {
  const Window& w = a.window;
  const int64_t oh = w.out_h(a.height), ow = w.out_w(a.width);
  const int64_t taps = w.kernel_h * w.kernel_w;
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    const T* image = static_cast<const T*>(a.in) + plane * a.height * a.width;
    T* columns = static_cast<T*>(a.out) + plane * taps * oh * ow;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t dy = tap / w.kernel_w * w.dilation_h - w.padding_h;
      const int64_t dx = tap % w.kernel_w * w.dilation_w - w.padding_w;
      const Range columns_inside = inside(dx, w.stride_w, a.width, ow);
      for (int64_t y = 0; y < oh; ++y, columns += ow) {
        const int64_t row = y * w.stride_h + dy;
        if (row < 0 || row >= a.height) {
          std::fill_n(columns, ow, T(0));
          continue;
        }
        const T* from = image + row * a.width + dx;
        std::fill_n(columns, columns_inside.begin, T(0));
        if (w.stride_w == 1) {
          std::copy(from + columns_inside.begin, from + columns_inside.end,
                    columns + columns_inside.begin);
        } else {
          for (int64_t x = columns_inside.begin; x < columns_inside.end; ++x) {
            columns[x] = from[x * w.stride_w];
          }
        }
        std::fill(columns + columns_inside.end, columns + ow, T(0));
      }
    }
  });
  return {};
}

template <typename T>
Status col2im(Context& context, const ImageArgs& a) {
  const Window& w = a.window;
  const int64_t oh = w.out_h(a.height), ow = w.out_w(a.width);
  const int64_t taps = w.kernel_h * w.kernel_w;
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    const T* columns = static_cast<const T*>(a.in) + plane * taps * oh * ow;
    T* image = static_cast<T*>(a.out) + plane * a.height * a.width;
    std::fill_n(image, a.height * a.width, T(0));
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t dy = tap / w.kernel_w * w.dilation_h - w.padding_h;
      const int64_t dx = tap % w.kernel_w * w.dilation_w - w.padding_w;
      const Range columns_inside = inside(dx, w.stride_w, a.width, ow);
      for (int64_t y = 0; y < oh; ++y, columns += ow) {
        const int64_t row = y * w.stride_h + dy;
        if (row < 0 || row >= a.height) continue;
        T* to = image + row * a.width + dx;
        for (int64_t x = columns_inside.begin; x < columns_inside.end; ++x) {
          to[x * w.stride_w] += columns[x];
        }
      }
    }
  });
  return {};
}

// Calls body(plane, output index, first and last row and column of the window inside the image).
template <typename Body>
void each_window(Context& context, const ImageArgs& a, const Body& body) {
  const Window& w = a.window;
  const int64_t oh = w.out_h(a.height), ow = w.out_w(a.width);
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    for (int64_t y = 0; y < oh; ++y) {
      const int64_t top = y * w.stride_h - w.padding_h;
      for (int64_t x = 0; x < ow; ++x) {
        const int64_t left = x * w.stride_w - w.padding_w;
        body(plane, (plane * oh + y) * ow + x, std::max<int64_t>(top, 0),
             std::min(top + w.kernel_h, a.height), std::max<int64_t>(left, 0),
             std::min(left + w.kernel_w, a.width));
      }
    }
  });
}

// The largest of four pixels that lie two and two, and where it stands; the first of equals, NaN first.
template <typename T>
int64_t largest_of_square(const T* at, int64_t below) {
  const int64_t places[] = {0, 1, below, below + 1};
  int64_t best = 0;
  for (int k = 1; k < 4; ++k) {
    const T x = at[places[k]];
    best = x > at[best] || (x != x && at[best] == at[best]) ? places[k] : best;
  }
  return best;
}

template <typename T>
Status max_pool(Context& context, const PoolArgs& args) {
  const ImageArgs& a = args.image;
  const Window& w = a.window;
  if (w.kernel_h == 2 && w.kernel_w == 2 && w.stride_h == 2 && w.stride_w == 2 && w.padding_h == 0 &&
      w.padding_w == 0) {
    const int64_t oh = w.out_h(a.height), ow = w.out_w(a.width);
    context.parallel(a.n * a.channels, [&](int64_t plane) {
      const T* image = static_cast<const T*>(a.in) + plane * a.height * a.width;
      T* out = static_cast<T*>(a.out) + plane * oh * ow;
      int32_t* indices = args.indices + plane * oh * ow;
      for (int64_t y = 0; y < oh; ++y) {
        for (int64_t x = 0; x < ow; ++x, ++out, ++indices) {
          const int64_t at = 2 * y * a.width + 2 * x;
          const int64_t best = at + largest_of_square(image + at, a.width);
          *out = image[best];
          *indices = static_cast<int32_t>(best);
        }
      }
    });
    return {};
  }
  each_window(context, a, [&](int64_t plane, int64_t out, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    const T* image = static_cast<const T*>(a.in) + plane * a.height * a.width;
    int64_t best = y0 * a.width + x0;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        const int64_t at = y * a.width + x;
        if (image[at] > image[best] || (std::isnan(image[at]) && !std::isnan(image[best]))) best = at;
      }
    }
    static_cast<T*>(a.out)[out] = image[best];
    args.indices[out] = static_cast<int32_t>(best);
  });
  return {};
}

template <typename T>
Status max_pool_backward(Context& context, const PoolArgs& args) {
  const ImageArgs& a = args.image;
  const int64_t outputs = a.window.out_h(a.height) * a.window.out_w(a.width);
  const int64_t pixels = a.height * a.width;
  std::atomic<bool> good{true};
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    T* image = static_cast<T*>(a.out) + plane * pixels;
    std::fill_n(image, pixels, T(0));
    bool inside_all = true;
    for (int64_t i = plane * outputs; i < (plane + 1) * outputs; ++i) {
      inside_all = inside_all && args.indices[i] >= 0 && args.indices[i] < pixels;
    }
    if (!inside_all) {
      good.store(false, std::memory_order_relaxed);
      return;
    }
    for (int64_t i = plane * outputs; i < (plane + 1) * outputs; ++i) {
      image[args.indices[i]] += static_cast<const T*>(a.in)[i];
    }
  });
  if (!good) return {Code::argument, "an index of max pooling lies outside its image"};
  return {};
}

template <typename T>
Status avg_pool(Context& context, const ImageArgs& a) {
  const T scale = T(1) / static_cast<T>(a.window.kernel_h * a.window.kernel_w);
  each_window(context, a, [&](int64_t plane, int64_t out, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    const T* image = static_cast<const T*>(a.in) + plane * a.height * a.width;
    T sum = 0;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) sum += image[y * a.width + x];
    }
    static_cast<T*>(a.out)[out] = sum * scale;
  });
  return {};
}

template <typename T>
Status avg_pool_backward(Context& context, const ImageArgs& a) {
  const T scale = T(1) / static_cast<T>(a.window.kernel_h * a.window.kernel_w);
  T* images = static_cast<T*>(a.out);
  std::fill_n(images, a.n * a.channels * a.height * a.width, T(0));
  each_window(context, a, [&](int64_t plane, int64_t out, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    const T g = static_cast<const T*>(a.in)[out] * scale;
    T* image = images + plane * a.height * a.width;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) image[y * a.width + x] += g;
    }
  });
  return {};
}

}  // namespace

#define BY_DTYPE(kernel, Args, dtype_of_args)                                      \
  [](Context& c, const Args& a) -> Status {                                        \
    return dtype_of_args == DType::f64 ? kernel<double>(c, a) : kernel<float>(c, a); \
  }

Status max_pool_any(Context& c, const PoolArgs& a) {
  return a.image.dtype == DType::f64 ? max_pool<double>(c, a) : max_pool<float>(c, a);
}
Status max_pool_backward_any(Context& c, const PoolArgs& a) {
  return a.image.dtype == DType::f64 ? max_pool_backward<double>(c, a) : max_pool_backward<float>(c, a);
}

void fill_conv_scalar(KernelTable& table) {
  table.conv = {
      .im2col = BY_DTYPE(im2col, ImageArgs, a.dtype),
      .col2im = BY_DTYPE(col2im, ImageArgs, a.dtype),
      .max_pool = max_pool_any,
      .max_pool_backward = max_pool_backward_any,
      .avg_pool = BY_DTYPE(avg_pool, ImageArgs, a.dtype),
      .avg_pool_backward = BY_DTYPE(avg_pool_backward, ImageArgs, a.dtype),
      .direct = nullptr,
      .direct_weight = nullptr,
  };
}

}  // namespace palimpsest::cpu
