// Rows of reductions. Floor: each element read once. Sums run in 64 lanes, so that the order of
// additions is the same at every level and for every number of threads, and are folded into float64
// every 4096 elements.

#include "cpu/reduce/rows.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kLanes = 64;
constexpr int64_t kFold = 4096;

template <typename T, typename F>
inline double sum_rows(const T* x, int64_t n, const F& f) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kFold) {
    const int64_t end = begin + kFold < n ? begin + kFold : n;
    T lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
#pragma GCC ivdep
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] += f(x[i + l]);
    }
    for (int64_t l = 0; i < end; ++i, ++l) lanes[l] += f(x[i]);
    double wide[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) wide[l] = lanes[l];
    for (int64_t width = kLanes / 2; width > 0; width /= 2) {
      for (int64_t l = 0; l < width; ++l) wide[l] += wide[l + width];
    }
    total += wide[0];
  }
  return total;
}

// NaN wins.
template <typename T>
inline T larger(T a, T b) {
  return b != b ? b : (a > b || a != a ? a : b);
}
template <typename T>
inline T smaller(T a, T b) {
  return b != b ? b : (a < b || a != a ? a : b);
}

template <typename T, typename F>
inline T best_of_row(const T* x, int64_t n, const F& f) {
  T best = x[0];
  int64_t i = 0;
  if (n >= kLanes) {
    T lanes[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = x[l];
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
#pragma GCC ivdep
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] = f(lanes[l], x[i + l]);
    }
    for (int64_t l = 0; l < kLanes; ++l) best = f(best, lanes[l]);
  }
  for (; i < n; ++i) best = f(best, x[i]);
  return best;
}

template <typename T, typename F>
inline void into(T* accumulators, const T* x, int64_t n, const F& f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) accumulators[i] = f(accumulators[i], x[i]);
}

template <typename T>
inline T magnitude(T x) {
  return x < 0 ? -x : (x == 0 ? T(0) : x);
}

template <typename T>
bool finite_row(const T* x, int64_t n) {
  // x·0 is 0 for finite x and NaN otherwise; sums of zeros stay 0.
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC ivdep
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l] * T(0);
  }
  T rest = 0;
  for (; i < n; ++i) rest += x[i] * T(0);
  for (int64_t l = 0; l < kLanes; ++l) rest += lanes[l];
  return rest == 0;
}

template <typename T>
ReduceRows<T> make_reduce_rows() {
  return {
      .sum = [](const T* x, int64_t n) { return sum_rows(x, n, [](T v) { return v; }); },
      .sum_of_squares = [](const T* x, int64_t n) { return sum_rows(x, n, [](T v) { return v * v; }); },
      .sum_of_magnitudes =
          [](const T* x, int64_t n) { return sum_rows(x, n, [](T v) { return magnitude(v); }); },
      .max = [](const T* x, int64_t n) { return best_of_row(x, n, larger<T>); },
      .min = [](const T* x, int64_t n) { return best_of_row(x, n, smaller<T>); },
      .all_finite = finite_row<T>,
      .add = [](T* a, const T* x, int64_t n) { into(a, x, n, [](T s, T v) { return s + v; }); },
      .add_squares = [](T* a, const T* x, int64_t n) { into(a, x, n, [](T s, T v) { return s + v * v; }); },
      .add_magnitudes =
          [](T* a, const T* x, int64_t n) { into(a, x, n, [](T s, T v) { return s + magnitude(v); }); },
      .take_max = [](T* a, const T* x, int64_t n) { into(a, x, n, larger<T>); },
      .take_min = [](T* a, const T* x, int64_t n) { into(a, x, n, smaller<T>); },
  };
}

const ReduceRowSet& reduce_rows() {
  static const ReduceRowSet rows = {make_reduce_rows<float>(), make_reduce_rows<double>()};
  return rows;
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_reduce_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.reduce = reduce_kernels<PALIMPSEST_LEVEL::reduce_rows>();
}

}  // namespace palimpsest::cpu
