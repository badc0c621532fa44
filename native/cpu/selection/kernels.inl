// Comparing scores with two bounds; a level with vectors names a file with its compare64. Floor: one read.
// A word of 64 entries needs, for each vector, an and, a xor, two and a half compares and as many moves of
// masks; the few entries between the bounds are then taken out of the word bit by bit.

#include <bit>

#include "cpu/selection/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// The bits of a score that are kept, and those that are turned over.
template <typename U>
struct BitForm {
  U keep, flip;
};

inline BitForm<uint32_t> bit_form(ScoreForm form, float) {
  return {form.magnitude ? 0x7fffffffu : 0xffffffffu, form.negate ? 0x80000000u : 0u};
}
inline BitForm<uint64_t> bit_form(ScoreForm form, double) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  return {form.magnitude ? ~kSign : ~uint64_t{0}, form.negate ? kSign : 0};
}

inline float score(float x, BitForm<uint32_t> f) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) & f.keep) ^ f.flip);
}
inline float score(BFloat16 x, BitForm<uint32_t> f) { return score(to_float(x), f); }
inline double score(double x, BitForm<uint64_t> f) {
  return std::bit_cast<double>((std::bit_cast<uint64_t>(x) & f.keep) ^ f.flip);
}
inline double score(int32_t x, BitForm<uint64_t> f) { return score(static_cast<double>(x), f); }

// The work on a word hides less of the memory's delay than the processor could: ask for lines early.
template <typename T>
inline void fetch_ahead(const T* x) {
  constexpr int64_t kAhead = 4096;
  const char* line = reinterpret_cast<const char*>(x) + kAhead;
  for (size_t at = 0; at < 64 * sizeof(T); at += 64) __builtin_prefetch(line + at);
}

// n ≤ 64 entries: bits of v ≥ high and of v > low; true where one is NaN.
template <typename T, typename V, typename U>
inline bool compare_some(const T* x, int64_t n, BitForm<U> form, V low, V high, uint64_t* upper,
                         uint64_t* above) {
  uint64_t at_least = 0, more = 0;
  bool nan = false;
  for (int64_t i = 0; i < n; ++i) {
    const V v = score(x[i], form);
    at_least |= static_cast<uint64_t>(v >= high) << i;
    more |= static_cast<uint64_t>(v > low) << i;
    nan |= v != v;
  }
  *upper = at_least;
  *above = more;
  return nan;
}

// Writes the scores and indices of the entries x[i + bit] whose bits are on; returns how many. Up to two
// places beyond may be overwritten. Most words have one or none: two are taken without asking, since the
// processor could not foresee the answer.
template <typename T, typename V, typename U>
inline int64_t take(const T* x, int64_t i, BitForm<U> form, uint64_t bits, V* values, uint32_t* indices) {
  const int64_t count = __builtin_popcountll(bits);
  const auto one = [&](int64_t place) {
    const int bit = std::countr_zero(bits) & 63;
    bits &= bits - 1;
    values[place] = score(x[i + bit], form);
    indices[place] = static_cast<uint32_t>(i + bit);
  };
  one(0);
  one(1);
  for (int64_t place = 2; place < count; ++place) one(place);
  return count;
}

#if defined(PALIMPSEST_COMPARE)
#include PALIMPSEST_COMPARE
#else
template <typename T, typename V, typename U>
inline bool compare64(const T* x, BitForm<U> form, V low, V high, uint64_t* upper, uint64_t* above) {
  return compare_some(x, 64, form, low, high, upper, above);
}
#endif

// Entries that are compared before any is taken: taking ends where the processor does not expect it,
// which would undo the comparisons that it has begun.
constexpr int64_t kBlock = 4096;

template <typename T, typename V, typename U>
inline bool compare(const T* x, int64_t n, BitForm<U> form, V low, V high, uint64_t* upper, uint64_t* above) {
  bool nan = false;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    fetch_ahead(x + i);
    nan |= compare64(x + i, form, low, high, upper + i / 64, above + i / 64);
  }
  return i < n ? compare_some(x + i, n - i, form, low, high, upper + i / 64, above + i / 64) || nan : nan;
}

template <typename T, typename V>
Swept sweep(const void* from, int64_t n, ScoreForm score_form, V low, V high, uint64_t* mask,
            V* values, uint32_t* indices, int64_t room) {
  const T* x = static_cast<const T*>(from);
  const auto form = bit_form(score_form, V{});
  int64_t in_upper = 0, in_above = 0, taken = 0;
  bool nan = false;
  for (int64_t at = 0; at < n; at += kBlock, mask += kBlock / 64) {
    const int64_t count = n - at < kBlock ? n - at : kBlock;
    uint64_t above[kBlock / 64];
    nan |= compare(x + at, count, form, low, high, mask, above);
    for (int64_t w = 0; 64 * w < count; ++w) {
      const uint64_t between = above[w] & ~mask[w];
      in_upper += __builtin_popcountll(mask[w]);
      in_above += __builtin_popcountll(above[w]);
      // Where room is short they are counted all the same, and the driver sees that.
      if (taken + 64 <= room) taken += take(x, at + 64 * w, form, between, values + taken, indices + taken);
    }
  }
  return {in_upper, in_above, nan};
}

template <typename T, typename V>
Swept mark(const void* from, int64_t n, ScoreForm score_form, V bound, uint64_t* mask) {
  const T* x = static_cast<const T*>(from);
  const auto form = bit_form(score_form, V{});
  int64_t in_upper = 0, in_above = 0;
  bool nan = false;
  for (int64_t at = 0; at < n; at += kBlock, mask += kBlock / 64) {
    const int64_t count = n - at < kBlock ? n - at : kBlock;
    uint64_t upper[kBlock / 64];
    nan |= compare(x + at, count, form, bound, bound, upper, mask);
    for (int64_t w = 0; 64 * w < count; ++w) {
      in_upper += __builtin_popcountll(upper[w]);
      in_above += __builtin_popcountll(mask[w]);
    }
  }
  return {in_upper, in_above, nan};
}

template <typename T, typename V>
void values(const void* from, int64_t n, ScoreForm score_form, V* out) {
  const T* x = static_cast<const T*>(from);
  const auto form = bit_form(score_form, V{});
  for (int64_t i = 0; i < n; ++i) out[i] = score(x[i], form);
}

template <typename T, typename V>
constexpr SelectionRow<V> row() {
  return {sweep<T, V>, mark<T, V>, values<T, V>};
}

constexpr SelectionRows kRows = {row<float, float>(), row<BFloat16, float>(), row<double, double>(),
                                 row<int32_t, double>()};
const SelectionRows& rows() { return kRows; }

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_selection_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.selection = selection_kernels<PALIMPSEST_LEVEL::rows>();
}

}  // namespace palimpsest::cpu
