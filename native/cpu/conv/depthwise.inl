// Depthwise convolution of stride 1: one channel in, one out. A plane is copied with its padding into a
// buffer that stays in L1; then every vector of an output row is a sum of shifted loads. Floor: planes read
// once and written once; with 3×3 taps that takes as long as the 9 loads and multiply-adds a vector.
#pragma once

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// What a plane's rows look like in the buffer.
struct DepthwisePlane {
  int64_t oh, ow, width, height, step;  // output extents; padded extents; from a tap's row to the next
  int64_t kernel_h, kernel_w, dilation_w;

  DepthwisePlane(const DirectConvArgs& a)
      : oh(a.window.out_h(a.h)), ow(a.window.out_w(a.w)), width(a.w + 2 * a.window.padding_w),
        height(a.h + 2 * a.window.padding_h), step(a.window.dilation_h * width), kernel_h(a.window.kernel_h),
        kernel_w(a.window.kernel_w), dilation_w(a.window.dilation_w) {}
};

template <typename T>
void pad_plane(const DirectConvArgs& a, const DepthwisePlane& p, int64_t plane, T* buffer) {
  const T* from = static_cast<const T*>(a.x) + plane * a.h * a.w;
  const int64_t top = a.window.padding_h, left = a.window.padding_w;
  for (int64_t i = 0; i < top * p.width; ++i) buffer[i] = buffer[(top + a.h) * p.width + i] = 0;
  T* to = buffer + top * p.width;
  for (int64_t r = 0; r < a.h; ++r, to += p.width) {
    for (int64_t i = 0; i < left; ++i) to[i] = to[left + a.w + i] = 0;
    __builtin_memcpy(to + left, from + r * a.w, static_cast<size_t>(a.w) * sizeof(T));
  }
}

template <typename V>
typename V::Element sum_of(V v) {
  return sum(v);
}

// The taps are known to the compiler, or with zero to the plane alone.
template <typename V, int kHeight, int kWidth>
void depthwise_plane(const DepthwisePlane& p, const typename V::Element* buffer,
                     const typename V::Element* weights, typename V::Element bias, bool relu,
                     typename V::Element* y) {
  const int64_t kernel_h = kHeight == 0 ? p.kernel_h : kHeight, kernel_w = kWidth == 0 ? p.kernel_w : kWidth;
  V known[kHeight == 0 ? 1 : kHeight * kWidth];
  if constexpr (kHeight > 0) {
    for (int k = 0; k < kHeight * kWidth; ++k) known[k] = V::set(weights[k]);
  }
  for (int64_t row = 0; row < p.oh; ++row, y += p.ow) {
    for (int64_t col = 0; col < p.ow; col += V::width) {
      const typename V::Element* from = buffer + row * p.width + col;
      V sum = V::set(bias);
#pragma GCC unroll 8
      for (int64_t i = 0; i < kernel_h; ++i, from += p.step) {
#pragma GCC unroll 8
        for (int64_t j = 0; j < kernel_w; ++j) {
          const V weight = kHeight == 0 ? V::set(weights[i * kernel_w + j]) : known[i * kernel_w + j];
          sum = fma(weight, V::load(from + j * p.dilation_w), sum);
        }
      }
      if (relu) sum = max(V::zero(), sum);
      if (p.ow - col >= V::width) {
        sum.store(y + col);
      } else {
        sum.store(y + col, p.ow - col);
      }
    }
  }
}

// totals[k] += Σ over the plane of the tap's pixels times the gradients.
template <typename V, int kHeight, int kWidth>
void depthwise_slopes(const DepthwisePlane& p, const typename V::Element* buffer,
                      const typename V::Element* dy, typename V::Element* totals) {
  if constexpr (kHeight == 0) {
    for (int64_t i = 0; i < p.kernel_h; ++i) {
      for (int64_t j = 0; j < p.kernel_w; ++j) {
        V sum = V::zero();
        const typename V::Element* from = buffer + i * p.step + j * p.dilation_w;
        for (int64_t row = 0; row < p.oh; ++row) {
          for (int64_t col = 0; col < p.ow; col += V::width) {
            const int64_t lanes = p.ow - col;
            sum = fma(V::load(from + row * p.width + col, lanes), V::load(dy + row * p.ow + col, lanes), sum);
          }
        }
        totals[i * p.kernel_w + j] += sum_of(sum);
      }
    }
  } else {
    V sums[kHeight * kWidth];
    for (V& s : sums) s = V::zero();
    const auto each = [&](const typename V::Element* from, V slope, const auto& load) {
#pragma GCC unroll 8
      for (int i = 0; i < kHeight; ++i, from += p.step) {
#pragma GCC unroll 8
        for (int j = 0; j < kWidth; ++j) {
          sums[i * kWidth + j] = fma(load(from + j * p.dilation_w), slope, sums[i * kWidth + j]);
        }
      }
    };
    for (int64_t row = 0; row < p.oh; ++row, dy += p.ow) {
      const typename V::Element* from = buffer + row * p.width;
      int64_t col = 0;
      for (; col + V::width <= p.ow; col += V::width) {
        each(from + col, V::load(dy + col), [](const typename V::Element* x) { return V::load(x); });
      }
      const int64_t lanes = p.ow - col;
      if (lanes > 0) {
        each(from + col, V::load(dy + col, lanes), [lanes](const typename V::Element* x) { return V::load(x, lanes); });
      }
    }
    for (int k = 0; k < kHeight * kWidth; ++k) totals[k] += sum_of(sums[k]);
  }
}

template <typename V>
Status depthwise_conv(Context& context, const DirectConvArgs& a) {
  using T = typename V::Element;
  const DepthwisePlane p(a);
  const int64_t taps = p.kernel_h * p.kernel_w;
  const bool three = p.kernel_h == 3 && p.kernel_w == 3;
  const auto kernel = three ? depthwise_plane<V, 3, 3> : depthwise_plane<V, 0, 0>;
  context.parallel(a.n * a.c, [&](int64_t plane) {
    const int64_t c = plane % a.c;
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    T* buffer = take<T>(local, p.height * p.width + V::width);
    T* weights = take<T>(local, taps);
    pad_plane(a, p, plane, buffer);
    for (int64_t i = 0; i < V::width; ++i) buffer[p.height * p.width + i] = 0;
    const T* from = static_cast<const T*>(a.weight) + c * taps;
    for (int64_t k = 0; k < taps; ++k) weights[k] = from[a.transposed ? taps - 1 - k : k];
    const T bias = a.bias == nullptr ? T(0) : static_cast<const T*>(a.bias)[c];
    kernel(p, buffer, weights, bias, a.relu, static_cast<T*>(a.y) + plane * p.oh * p.ow);
  });
  return {};
}

template <typename V>
Status depthwise_conv_weight(Context& context, const DirectConvArgs& a) {
  using T = typename V::Element;
  const DepthwisePlane p(a);
  const int64_t taps = p.kernel_h * p.kernel_w;
  const bool three = p.kernel_h == 3 && p.kernel_w == 3;
  const auto kernel = three ? depthwise_slopes<V, 3, 3> : depthwise_slopes<V, 0, 0>;
  // Each share of the images has sums of its own, added up in order at the end.
  const int64_t shares = least(a.n, up(kEnoughParts, a.c));
  const Workspace::Scope scope(context.workspace);
  T* totals = take<T>(context.workspace, shares * a.c * taps);
  context.parallel(shares * a.c, [&](int64_t task) {
    const int64_t share = task / a.c, c = task % a.c;
    T* mine = totals + task * taps;
    for (int64_t k = 0; k < taps; ++k) mine[k] = 0;
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    T* buffer = take<T>(local, p.height * p.width + V::width);
    for (int64_t image = share * a.n / shares; image < (share + 1) * a.n / shares; ++image) {
      const int64_t plane = image * a.c + c;
      pad_plane(a, p, plane, buffer);
      kernel(p, buffer, static_cast<const T*>(a.y) + plane * p.oh * p.ow, mine);
    }
  });
  for (int64_t i = 0; i < a.c * taps; ++i) {
    T total = 0;
    for (int64_t share = 0; share < shares; ++share) total += totals[share * a.c * taps + i];
    static_cast<T*>(a.dweight)[i] = total;
  }
  return {};
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
