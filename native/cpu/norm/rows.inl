// Layer norm and RMS norm. Floor: forward reads x twice (the second time from the first-level cache)
// and writes y; backward reads x and dy twice and writes dx. The weights' gradients are summed over
// fixed blocks of rows, then over blocks, so the number of threads changes no bit.
#pragma once

#include "cpu/simd/blocks.inl"
#include "cpu/simd/rows.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kMostRowBlocks = 64;

// Sum of f(i) for i < n: in 64 lanes, four vectors at least, that are added up as a tree. One vector's chain
// of additions would take longer than the row takes to come from memory.
template <typename T, typename F>
inline double row_sum(int64_t n, const F& f) {
  constexpr int64_t kWide = 64, kNarrow = 16;
  T lanes[kWide] = {};
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide) {
#pragma GCC ivdep
    for (int64_t l = 0; l < kWide; ++l) lanes[l] += f(i + l);
  }
  for (; i + kNarrow <= n; i += kNarrow) {
#pragma GCC ivdep
    for (int64_t l = 0; l < kNarrow; ++l) lanes[l] += f(i + l);
  }
  double rest = 0;
  for (; i < n; ++i) rest += f(i);
#pragma GCC unroll 8
  for (int64_t half = kWide / 2; half > 0; half /= 2) {
#pragma GCC ivdep
    for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return rest + lanes[0];
}

template <typename T>
void norm_rows(Context& context, const RowNormArgs& a) {
  const int64_t n = a.width;
  const T* weight = static_cast<const T*>(a.weight);
  const T* bias = static_cast<const T*>(a.bias);
  context.parallel_chunks(a.rows, grain_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * n;
      T* y = static_cast<T*>(a.y) + r * n;
      if (r + 1 < end) ask_for_row(x + n, n);
      T mean = 0;
      if (a.centered) {
        mean = static_cast<T>(row_sum<T>(n, [x](int64_t i) { return x[i]; }) / static_cast<double>(n));
        static_cast<T*>(a.mean)[r] = mean;
      }
      const double squares = row_sum<T>(n, [x, mean](int64_t i) {
        const T d = x[i] - mean;
        return d * d;
      });
      const T rstd =
          static_cast<T>(1 / __builtin_sqrt(squares / static_cast<double>(n) + a.eps));
      static_cast<T*>(a.rstd)[r] = rstd;
      if (weight != nullptr && bias != nullptr) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * weight[i] + bias[i];
      } else if (weight != nullptr) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * weight[i];
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd + (bias != nullptr ? bias[i] : T(0));
      }
    }
  });
}

// With h = weight·dy and x̂ = (x − mean)·rstd: dx = rstd·(h − mean(h) − x̂·mean(h·x̂)).
template <typename T>
void norm_row_backward(const RowNormArgs& a, const T* x, const T* dy, const T* weight, T mean, T rstd,
                       T* dx) {
  const int64_t n = a.width;
  const auto h = [dy, weight](int64_t i) { return weight != nullptr ? dy[i] * weight[i] : dy[i]; };
  const double width = static_cast<double>(n);
  T shift = 0;
  double dot;
  if (weight != nullptr) {
    if (a.centered) shift = static_cast<T>(row_sum<T>(n, [=](int64_t i) { return dy[i] * weight[i]; }) / width);
    dot = row_sum<T>(n, [=](int64_t i) { return dy[i] * weight[i] * (x[i] - mean); });
  } else {
    if (a.centered) shift = static_cast<T>(row_sum<T>(n, [=](int64_t i) { return dy[i]; }) / width);
    dot = row_sum<T>(n, [=](int64_t i) { return dy[i] * (x[i] - mean); });
  }
  const T slope = static_cast<T>(dot / width) * rstd * rstd;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) dx[i] = rstd * (h(i) - shift - (x[i] - mean) * slope);
}

template <typename T>
void norm_rows_backward(Context& context, const RowNormBackwardArgs& args) {
  const RowNormArgs& a = args.forward;
  const int64_t n = a.width;
  const T* weight = static_cast<const T*>(a.weight);
  int64_t grain = grain_of(n);
  const int64_t least = (a.rows + kMostRowBlocks - 1) / kMostRowBlocks;
  if (grain < least) grain = least;
  const int64_t blocks = (a.rows + grain - 1) / grain;
  const bool sums = args.dweight != nullptr || args.dbias != nullptr;
  const Workspace::Scope scope(context.workspace);
  const auto bytes = static_cast<size_t>(sums ? blocks * 2 * n : 0) * sizeof(T);
  T* partial = static_cast<T*>(context.workspace.take_bytes(bytes));
  context.parallel(blocks, [&](int64_t block) {
    const int64_t end = (block + 1) * grain < a.rows ? (block + 1) * grain : a.rows;
    T* dweight = sums ? partial + block * 2 * n : nullptr;
    T* dbias = dweight + n;
    for (int64_t i = 0; sums && i < 2 * n; ++i) dweight[i] = 0;
    for (int64_t r = block * grain; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * n;
      const T* dy = static_cast<const T*>(args.dy) + r * n;
      if (r + 1 < end) {
        ask_for_row(x + n, n);
        ask_for_row(dy + n, n);
      }
      const T mean = a.centered ? static_cast<const T*>(a.mean)[r] : T(0);
      const T rstd = static_cast<const T*>(a.rstd)[r];
      if (args.dx != nullptr) {
        norm_row_backward(a, x, dy, weight, mean, rstd, static_cast<T*>(args.dx) + r * n);
      }
      if (!sums) continue;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        dweight[i] += dy[i] * ((x[i] - mean) * rstd);
        dbias[i] += dy[i];
      }
    }
  });
  if (!sums) return;
  const auto total = [&](void* out, int64_t offset) {
    T* to = static_cast<T*>(out);
    if (to == nullptr) return;
    for (int64_t i = 0; i < n; ++i) to[i] = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      const T* from = partial + block * 2 * n + offset;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) to[i] += from[i];
    }
  };
  total(args.dweight, 0);
  total(args.dbias, n);
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
