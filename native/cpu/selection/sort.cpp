// Ordering rows. Keys whose unsigned order is the wanted one carry their index, so that equal scores
// keep their order in an unstable sort: 64-bit pairs of key and index for 32-bit scores. Long rows are
// sorted by radix, eleven bits a pass; a small part of a row is split off first (nth_element).

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "cpu/selection/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

// Ascending, NaN last; −0 equals +0.
inline uint32_t order_of(float x) {
  if (x != x) return ~uint32_t{0};
  const auto bits = std::bit_cast<uint32_t>(x + 0.0f);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
inline uint32_t order_of(BFloat16 x) { return order_of(to_float(x)); }
inline uint32_t order_of(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }
inline uint64_t order_of(double x) {
  if (x != x) return ~uint64_t{0};
  const auto bits = std::bit_cast<uint64_t>(x + 0.0);
  return bits ^ ((bits >> 63) != 0 ? ~uint64_t{0} : uint64_t{1} << 63);
}

struct WideKey {
  uint64_t key;
  uint32_t index;
  bool operator<(const WideKey& other) const {
    return key != other.key ? key < other.key : index < other.index;
  }
};
inline uint64_t join(uint32_t key, uint32_t index) { return uint64_t{key} << 32 | index; }
inline WideKey join(uint64_t key, uint32_t index) { return {key, index}; }
inline uint32_t index_of(uint64_t pair) { return static_cast<uint32_t>(pair); }
inline uint32_t index_of(const WideKey& pair) { return pair.index; }

template <typename Pair>
void sort_all(Pair* pairs, Pair*, int64_t n) {
  std::sort(pairs, pairs + n);
}

// Three passes over the key's eleven bits each; the order within equal keys is kept.
void sort_all(uint64_t* pairs, uint64_t* spare, int64_t n) {
  if (n < 512) {
    std::sort(pairs, pairs + n);
    return;
  }
  constexpr int kBins = 2048;
  std::vector<uint32_t> starts(3 * kBins);
  for (int64_t i = 0; i < n; ++i) {
    for (int pass = 0; pass < 3; ++pass) {
      ++starts[pass * kBins + ((pairs[i] >> (32 + 11 * pass)) & (kBins - 1))];
    }
  }
  uint64_t* from = pairs;
  uint64_t* to = spare;
  for (int pass = 0; pass < 3; ++pass) {
    uint32_t* start = starts.data() + pass * kBins;
    if (std::find(start, start + kBins, static_cast<uint32_t>(n)) != start + kBins) continue;
    uint32_t sum = 0;
    for (int b = 0; b < kBins; ++b) sum += std::exchange(start[b], sum);
    for (int64_t i = 0; i < n; ++i) {
      to[start[(from[i] >> (32 + 11 * pass)) & (kBins - 1)]++] = from[i];
    }
    std::swap(from, to);
  }
  if (from != pairs) std::memcpy(pairs, from, static_cast<size_t>(n) * sizeof(uint64_t));
}

template <typename T>
Status sort(Context& context, const SortRowsArgs& a) {
  using Key = decltype(order_of(T{}));
  using Pair = decltype(join(Key{}, 0u));
  context.parallel(a.rows, [&](int64_t r) {
    Workspace& workspace = Workspace::local();
    const Workspace::Scope scope(workspace);
    auto* pairs = workspace.take<Pair>(a.cols);
    const T* x = static_cast<const T*>(a.x) + r * a.cols;
    const Key turn = a.descending ? ~Key{0} : 0;
    for (int64_t i = 0; i < a.cols; ++i) pairs[i] = join(order_of(x[i]) ^ turn, static_cast<uint32_t>(i));
    if (a.k < a.cols / 4) {
      std::nth_element(pairs, pairs + a.k, pairs + a.cols);
      std::sort(pairs, pairs + a.k);
    } else {
      sort_all(pairs, workspace.take<Pair>(a.cols), a.cols);
    }
    int32_t* indices = a.indices + r * a.k;
    for (int64_t i = 0; i < a.k; ++i) indices[i] = static_cast<int32_t>(index_of(pairs[i]));
    if (a.values != nullptr) {
      T* values = static_cast<T*>(a.values) + r * a.k;
      for (int64_t i = 0; i < a.k; ++i) values[i] = x[indices[i]];
    }
  });
  return {};
}

}  // namespace

Status sort_rows(Context& context, const SortRowsArgs& args) {
  switch (args.dtype) {
    case DType::f32: return sort<float>(context, args);
    case DType::f64: return sort<double>(context, args);
    case DType::bf16: return sort<BFloat16>(context, args);
    case DType::i32: return sort<int32_t>(context, args);
    default: return {Code::dtype, "'x' must be float32, float64, bfloat16 or int32"};
  }
}

}  // namespace palimpsest::cpu
