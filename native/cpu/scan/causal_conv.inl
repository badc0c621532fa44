// A causal convolution of each channel by itself. Channels lie side by side and are the vector's
// lanes. Floor: x read once (its last rows stay in cache), y written once.
#pragma once

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kConvChannels = 64;  // of a task

// body(batch, first channel, channels) for every block of channels of every batch.
template <typename Body>
void each_block(Context& context, const CausalConvArgs& a, const Body& body) {
  const int64_t blocks = (a.channels + kConvChannels - 1) / kConvChannels;
  context.parallel(a.batch * blocks, [&](int64_t task) {
    const int64_t first = task % blocks * kConvChannels;
    const int64_t left = a.channels - first;
    body(task / blocks, first, left < kConvChannels ? left : kConvChannels);
  });
}

template <typename T>
void causal_conv(Context& context, const CausalConvArgs& a) {
  each_block(context, a, [&](int64_t batch, int64_t first, int64_t n) {
    const T* x = static_cast<const T*>(a.x) + batch * a.time * a.channels + first;
    T* y = static_cast<T*>(a.y) + batch * a.time * a.channels + first;
    const T* weight = static_cast<const T*>(a.weight) + first * a.taps;
    const T* bias = a.bias != nullptr ? static_cast<const T*>(a.bias) + first : nullptr;
    for (int64_t t = 0; t < a.time; ++t) {
      T sums[kConvChannels];
      for (int64_t c = 0; c < n; ++c) sums[c] = bias != nullptr ? bias[c] : T(0);
      for (int64_t k = 0; k < a.taps; ++k) {
        const int64_t from = t - a.taps + 1 + k;
        if (from < 0) continue;
#pragma GCC ivdep
        for (int64_t c = 0; c < n; ++c) sums[c] += weight[c * a.taps + k] * x[from * a.channels + c];
      }
      for (int64_t c = 0; c < n; ++c) y[t * a.channels + c] = sums[c];
    }
  });
}

template <typename T>
void causal_conv_backward(Context& context, const CausalConvBackwardArgs& args) {
  const CausalConvArgs& a = args.forward;
  const T* weights = static_cast<const T*>(a.weight);
  if (args.dx != nullptr) {
    each_block(context, a, [&](int64_t batch, int64_t first, int64_t n) {
      const T* dy = static_cast<const T*>(args.dy) + batch * a.time * a.channels + first;
      T* dx = static_cast<T*>(args.dx) + batch * a.time * a.channels + first;
      for (int64_t t = 0; t < a.time; ++t) {
        T sums[kConvChannels] = {};
        for (int64_t k = 0; k < a.taps; ++k) {
          const int64_t to = t + a.taps - 1 - k;
          if (to >= a.time) continue;
#pragma GCC ivdep
          for (int64_t c = 0; c < n; ++c) {
            sums[c] += weights[(first + c) * a.taps + k] * dy[to * a.channels + c];
          }
        }
        for (int64_t c = 0; c < n; ++c) dx[t * a.channels + c] = sums[c];
      }
    });
  }
  if (args.dweight == nullptr && args.dbias == nullptr) return;
  // A block of channels by one task through all batches: nothing is summed across tasks.
  CausalConvArgs one = a;
  one.batch = 1;
  each_block(context, one, [&](int64_t, int64_t first, int64_t n) {
    T sums[kConvChannels];
    for (int64_t k = -1; k < a.taps; ++k) {  // −1: the bias
      if (k < 0 ? args.dbias == nullptr : args.dweight == nullptr) continue;
      for (int64_t c = 0; c < n; ++c) sums[c] = 0;
      for (int64_t row = 0; row < a.batch * a.time; ++row) {
        const int64_t back = k < 0 ? 0 : a.taps - 1 - k;
        if (row % a.time < back) continue;
        const T* dy = static_cast<const T*>(args.dy) + row * a.channels + first;
        const T* x = static_cast<const T*>(a.x) + (row - back) * a.channels + first;
        if (k < 0) {
#pragma GCC ivdep
          for (int64_t c = 0; c < n; ++c) sums[c] += dy[c];
        } else {
#pragma GCC ivdep
          for (int64_t c = 0; c < n; ++c) sums[c] += dy[c] * x[c];
        }
      }
      for (int64_t c = 0; c < n; ++c) {
        if (k < 0) {
          static_cast<T*>(args.dbias)[first + c] = sums[c];
        } else {
          static_cast<T*>(args.dweight)[(first + c) * a.taps + k] = sums[c];
        }
      }
    }
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
