// Online softmax of score tiles. A tile stays in the first or second level cache between the two
// products around it. Floor: one exponential a score.

#include "cpu/attention/driver.h"
#include "cpu/simd/rows.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// How many leading keys row r sees; the rest of the row is hidden from it.
inline int64_t visible(const ScoreTile& t, int64_t r) {
  if (!t.causal) return t.cols;
  const int64_t n = r + t.first_query - t.first_key + 1;
  return n < 0 ? 0 : (n > t.cols ? t.cols : n);
}

// Puts −∞ where the mask hides one of the first n scores.
template <typename T>
void apply_mask(const ScoreTile& t, int64_t r, T* s, int64_t n) {
  if (t.mask == nullptr) return;
  const uint8_t* mask = t.mask + r * t.mask_row;
  for (int64_t c = 0; c < n; ++c) {
    if (mask[c * t.mask_col] == 0) s[c] = static_cast<T>(-kInf);
  }
}

template <typename T>
void softmax_tile(const SoftmaxTileArgs& a) {
  const ScoreTile& t = a.tile;
  for (int64_t r = 0; r < t.rows; ++r) {
    T* s = static_cast<T*>(t.scores) + r * t.stride;
    T* m = static_cast<T*>(a.m) + r;
    T* l = static_cast<T*>(a.l) + r;
    const int64_t n = visible(t, r);
    apply_mask(t, r, s, n);
    const T before = a.first ? static_cast<T>(-kInf) : *m;
    T top = n > 0 ? row_max(s, n) : before;
    top = top > before ? top : before;
    if (top == static_cast<T>(-kInf)) {  // nothing seen so far
      for (int64_t c = 0; c < t.cols; ++c) s[c] = 0;
      *m = top;
      *l = 0;
      if (!a.first) {
        T* out = static_cast<T*>(a.out) + r * a.out_stride;
        for (int64_t j = 0; j < a.d; ++j) out[j] = 0;
      }
      continue;
    }
#pragma GCC ivdep
    for (int64_t c = 0; c < n; ++c) s[c] = exponential(s[c] - top);
    for (int64_t c = n; c < t.cols; ++c) s[c] = 0;
    const T sum = static_cast<T>(lane_sum<T>(n, [s](int64_t c) { return s[c]; }));
    *m = top;
    if (a.first) {
      *l = sum;
      continue;
    }
    const T correction = exponential(before - top);
    *l = *l * correction + sum;
    if (before == top) continue;
    T* out = static_cast<T*>(a.out) + r * a.out_stride;
#pragma GCC ivdep
    for (int64_t j = 0; j < a.d; ++j) out[j] *= correction;
  }
}

template <typename T>
void softmax_finish(const SoftmaxFinishArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    const T l = static_cast<const T*>(a.l)[r];
    const T scale = l > 0 ? 1 / l : T(0);
    T* out = static_cast<T*>(a.out) + r * a.out_stride;
#pragma GCC ivdep
    for (int64_t j = 0; j < a.d; ++j) out[j] = l > 0 ? out[j] * scale : T(0);
    static_cast<T*>(a.lse)[r] =
        l > 0 ? static_cast<const T*>(a.m)[r] + static_cast<T>(logarithm(static_cast<double>(l)))
              : static_cast<T>(kInf);
  }
}

template <typename T>
void softmax_tile_backward(const SoftmaxTileBackwardArgs& a) {
  const ScoreTile& t = a.tile;
  const T scale = static_cast<T>(a.scale);
  for (int64_t r = 0; r < t.rows; ++r) {
    T* s = static_cast<T*>(t.scores) + r * t.stride;
    T* dp = static_cast<T*>(a.dp) + r * t.stride;
    const T lse = static_cast<const T*>(a.lse)[r];
    const T delta = static_cast<const T*>(a.delta)[r];
    const int64_t n = lse < static_cast<T>(kInf) ? visible(t, r) : 0;
    apply_mask(t, r, s, n);
#pragma GCC ivdep
    for (int64_t c = 0; c < n; ++c) {
      const T p = exponential(s[c] - lse);
      s[c] = p;
      dp[c] = p * (dp[c] - delta) * scale;
    }
    for (int64_t c = n; c < t.cols; ++c) s[c] = dp[c] = 0;
  }
}

template <typename T>
void row_dots(const RowDotsArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    const T* x = static_cast<const T*>(a.a) + r * a.a_stride;
    const T* y = static_cast<const T*>(a.b) + r * a.b_stride;
    static_cast<T*>(a.out)[r] =
        static_cast<T>(lane_sum<T>(a.d, [x, y](int64_t i) { return x[i] * y[i]; }));
  }
}

constexpr AttentionRows kAttentionRows = {
    .softmax_tile =
        [](const SoftmaxTileArgs& a) {
          a.tile.dtype == DType::f64 ? softmax_tile<double>(a) : softmax_tile<float>(a);
        },
    .softmax_finish =
        [](const SoftmaxFinishArgs& a) {
          a.dtype == DType::f64 ? softmax_finish<double>(a) : softmax_finish<float>(a);
        },
    .softmax_tile_backward =
        [](const SoftmaxTileBackwardArgs& a) {
          a.tile.dtype == DType::f64 ? softmax_tile_backward<double>(a)
                                     : softmax_tile_backward<float>(a);
        },
    .row_dots =
        [](const RowDotsArgs& a) {
          a.dtype == DType::f64 ? row_dots<double>(a) : row_dots<float>(a);
        },
};

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_attention_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.attention = {
      .forward =
          [](Context& c, const AttentionArgs& a) {
            return attention_forward(c, a, PALIMPSEST_LEVEL::kAttentionRows);
          },
      .backward =
          [](Context& c, const AttentionBackwardArgs& a) {
            return attention_backward(c, a, PALIMPSEST_LEVEL::kAttentionRows);
          },
  };
}

}  // namespace palimpsest::cpu
