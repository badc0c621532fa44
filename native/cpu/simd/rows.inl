// What kernels over rows share: elementary functions by type, maxima and sums in a fixed number of
// lanes, so that every level gives the same bits.
#pragma once

#include "cpu/simd/math.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kLanes = 32;

inline float exponential(float x) { return exp_f32(x); }
inline double exponential(double x) { return __builtin_exp(x); }
inline double logarithm(double x) { return __builtin_log(x); }

template <typename T>
T row_max(const T* x, int64_t n) {
  T best = x[0];
  int64_t i = 0;
  if (n >= kLanes) {
    T lanes[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = x[l];
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
#pragma GCC ivdep
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    }
    for (int64_t l = 0; l < kLanes; ++l) best = lanes[l] > best ? lanes[l] : best;
  }
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// Sum of f(i) for i < n, in lanes.
template <typename T, typename F>
inline double lane_sum(int64_t n, const F& f) {
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC ivdep
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += f(i + l);
  }
  double total = 0;
  for (; i < n; ++i) total += f(i);
  for (int64_t l = 0; l < kLanes; ++l) total += lanes[l];
  return total;
}

// Rows a task takes.
inline int64_t grain_of(int64_t width) { return width >= 8192 ? 1 : 8192 / (width > 0 ? width : 1); }

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
