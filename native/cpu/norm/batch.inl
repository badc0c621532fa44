// Batch norm over [n, channels, inner]. Floor: forward reads x twice or thrice and writes y. A task
// takes whole channels (a run of adjacent ones where inner is short), so nothing is summed across
// tasks.
#pragma once

#include "cpu/simd/rows.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// Channels a task takes: where inner is 1 the channels lie side by side and are the vector's lanes.
constexpr int64_t kAdjacent = 32;
inline int64_t channels_a_task(int64_t inner) { return inner >= 8 ? 1 : kAdjacent; }

// sums[c] = Σ f(c, index) over images and inner, for channels [first, last) in ascending images.
template <typename T, typename F>
inline void channel_sums(const BatchNormArgs& a, int64_t first, int64_t last, double* sums, const F& f) {
  for (int64_t c = first; c < last; ++c) sums[c - first] = 0;
  if (a.inner == 1) {
    T lanes[kAdjacent] = {};
    int64_t pending = 0;
    const auto flush = [&] {
      for (int64_t l = 0; l < last - first; ++l) {
        sums[l] += lanes[l];
        lanes[l] = 0;
      }
      pending = 0;
    };
    for (int64_t i = 0; i < a.n; ++i) {
      const int64_t row = i * a.channels + first;
#pragma GCC ivdep
      for (int64_t l = 0; l < last - first; ++l) lanes[l] += f(first + l, row + l);
      if (++pending == 64) flush();
    }
    flush();
    return;
  }
  for (int64_t c = first; c < last; ++c) {
    for (int64_t i = 0; i < a.n; ++i) {
      const int64_t row = (i * a.channels + c) * a.inner;
      sums[c - first] += lane_sum<T>(a.inner, [&f, c, row](int64_t j) { return f(c, row + j); });
    }
  }
}

// body(c, index) for every element of channels [first, last).
template <typename F>
inline void each_element(const BatchNormArgs& a, int64_t first, int64_t last, const F& body) {
  for (int64_t i = 0; i < a.n; ++i) {
    if (a.inner == 1) {
#pragma GCC ivdep
      for (int64_t c = first; c < last; ++c) body(c, i * a.channels + c);
      continue;
    }
    for (int64_t c = first; c < last; ++c) {
      const int64_t row = (i * a.channels + c) * a.inner;
#pragma GCC ivdep
      for (int64_t j = 0; j < a.inner; ++j) body(c, row + j);
    }
  }
}

template <typename T>
void batch_norm(Context& context, const BatchNormArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  T* mean = static_cast<T*>(a.mean);
  T* variance = static_cast<T*>(a.variance);
  const double count = static_cast<double>(a.n * a.inner);
  context.parallel_chunks(a.channels, channels_a_task(a.inner), [&](int64_t first, int64_t last) {
    double sums[kAdjacent];
    if (a.batch) {
      channel_sums<T>(a, first, last, sums, [x](int64_t, int64_t i) { return x[i]; });
      for (int64_t c = first; c < last; ++c) mean[c] = static_cast<T>(sums[c - first] / count);
      channel_sums<T>(a, first, last, sums, [x, mean](int64_t c, int64_t i) {
        const T d = x[i] - mean[c];
        return d * d;
      });
      for (int64_t c = first; c < last; ++c) variance[c] = static_cast<T>(sums[c - first] / count);
    }
    T scale[kAdjacent], shift[kAdjacent], center[kAdjacent];
    for (int64_t c = first; c < last; ++c) {
      const double rstd = 1 / __builtin_sqrt(static_cast<double>(variance[c]) + a.eps);
      center[c - first] = mean[c];
      scale[c - first] = static_cast<T>(
          rstd * (a.weight != nullptr ? static_cast<double>(static_cast<const T*>(a.weight)[c]) : 1.0));
      shift[c - first] = a.bias != nullptr ? static_cast<const T*>(a.bias)[c] : T(0);
    }
    each_element(a, first, last, [&](int64_t c, int64_t i) {
      y[i] = (x[i] - center[c - first]) * scale[c - first] + shift[c - first];
    });
  });
}

// With x̂ = (x − mean)·rstd: dbias = Σdy, dweight = Σdy·x̂, and where the statistics are the batch's
// dx = weight·rstd·(dy − dbias/m − x̂·dweight/m), else dx = weight·rstd·dy.
template <typename T>
void batch_norm_backward(Context& context, const BatchNormBackwardArgs& args) {
  const BatchNormArgs& a = args.forward;
  const T* x = static_cast<const T*>(a.x);
  const T* dy = static_cast<const T*>(args.dy);
  T* dx = static_cast<T*>(args.dx);
  const T* mean = static_cast<const T*>(a.mean);
  const double count = static_cast<double>(a.n * a.inner);
  context.parallel_chunks(a.channels, channels_a_task(a.inner), [&](int64_t first, int64_t last) {
    double total[kAdjacent], dot[kAdjacent];
    T scale[kAdjacent], shift[kAdjacent], slope[kAdjacent], center[kAdjacent];
    channel_sums<T>(a, first, last, total, [dy](int64_t, int64_t i) { return dy[i]; });
    channel_sums<T>(a, first, last, dot,
                    [x, dy, mean](int64_t c, int64_t i) { return dy[i] * (x[i] - mean[c]); });
    for (int64_t c = first; c < last; ++c) {
      const int64_t l = c - first;
      const double rstd =
          1 / __builtin_sqrt(static_cast<double>(static_cast<const T*>(a.variance)[c]) + a.eps);
      const double w = a.weight != nullptr ? static_cast<double>(static_cast<const T*>(a.weight)[c]) : 1.0;
      if (args.dbias != nullptr) static_cast<T*>(args.dbias)[c] = static_cast<T>(total[l]);
      if (args.dweight != nullptr) static_cast<T*>(args.dweight)[c] = static_cast<T>(dot[l] * rstd);
      center[l] = mean[c];
      scale[l] = static_cast<T>(w * rstd);
      shift[l] = a.batch ? static_cast<T>(total[l] / count) : T(0);
      slope[l] = a.batch ? static_cast<T>(dot[l] * rstd * rstd / count) : T(0);
    }
    if (dx == nullptr) return;
    each_element(a, first, last, [&](int64_t c, int64_t i) {
      const int64_t l = c - first;
      dx[i] = scale[l] * (dy[i] - shift[l] - (x[i] - center[l]) * slope[l]);
    });
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
