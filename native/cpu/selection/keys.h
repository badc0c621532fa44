// Scores as unsigned integers that order as they do, and ranks among a list of those.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace palimpsest::cpu {

inline constexpr int kDigit = 11;  // bits of a histogram
inline constexpr int64_t kBins = 1 << kDigit;

// −0 has the key of +0.
inline uint32_t key_of(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  if (bits == 0x80000000u) return 0x80000000u;
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
inline uint64_t key_of(double v) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  const auto bits = std::bit_cast<uint64_t>(v);
  if (bits == kSign) return kSign;
  return bits ^ ((bits >> 63) != 0 ? ~uint64_t{0} : kSign);
}
inline float score_of(uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}
inline double score_of(uint64_t key) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  return std::bit_cast<double>(key ^ ((key >> 63) != 0 ? kSign : ~uint64_t{0}));
}

// The next smaller and larger score; those beside 0 are not the zero of the other sign.
template <typename V>
V before(V v) {
  const auto key = key_of(v);
  return score_of(v == 0 ? key - 2 : key - 1);
}
template <typename V>
V after(V v) {
  return score_of(key_of(v) + 1);
}

// From the top, the bin that holds rank `k` (from 1); k becomes the rank within it.
template <typename Count>
int64_t bin_of(const Count* bins, int64_t& k) {
  for (int64_t b = kBins - 1; b >= 0; --b) {
    const auto count = static_cast<int64_t>(bins[b]);
    if (k <= count) return b;
    k -= count;
  }
  return 0;
}

// The k-th largest of n keys (k from 1), which are rearranged.
template <typename U>
U kth_largest(U* keys, int64_t n, int64_t k) {
  while (n > 256) {
    U low = keys[0], high = keys[0];
    for (int64_t i = 1; i < n; ++i) {
      low = std::min(low, keys[i]);
      high = std::max(high, keys[i]);
    }
    const auto range = static_cast<U>(high - low);
    if (range == 0) return low;
    const int bits = std::bit_width(range);
    const int shift = bits > kDigit ? bits - kDigit : 0;
    uint32_t bins[kBins] = {};
    for (int64_t i = 0; i < n; ++i) ++bins[(keys[i] - low) >> shift];
    const auto bin = static_cast<U>(bin_of(bins, k));
    if (shift == 0) return low + bin;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      const U key = keys[i];
      keys[kept] = key;
      kept += (key - low) >> shift == bin;
    }
    n = kept;
  }
  std::nth_element(keys, keys + (k - 1), keys + n, [](U a, U b) { return a > b; });
  return keys[k - 1];
}

}  // namespace palimpsest::cpu
