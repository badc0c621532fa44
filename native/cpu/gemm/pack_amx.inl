// Panels for tile registers: a unit is 32 k's of a line, in one plane of bf16 (f32 values are rounded)
// or in several whose sum is the f32 value. Tiles of A have a row a line, tiles of B a row a pair of
// k's: the one is the other's transpose in units of pairs.
#pragma once

#include <type_traits>

#include "cpu/gemm/pairs_avx512.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int kUnitValues = 32;
constexpr int kUnitPairs = 16;
constexpr int kPanelLines = 32;

inline void store_tile(std::byte* to, const __m512i (&r)[16]) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * kTileRowBytes, r[i]);
}

// bf16 values in pairs (k, k + 16), to be multiplied with planes of f32 values.
struct FarPairsOfBf16 : PairsOfBf16 {
  static __m512i along_k(const uint16_t* p, int64_t n) {
    return interleave(_mm256_maskz_loadu_epi16(first_lanes32(n), p),
                      _mm256_maskz_loadu_epi16(first_lanes32(n - 16), n > 16 ? p + 16 : p));
  }
};

// One plane. A pair is (k, k + 1), or (k, k + 16) for a far source.
template <typename Source, bool kByLine, bool kFar>
void pack_tile(const typename Source::Value* source, const PackArgs& args, int64_t lines,
               int64_t depth, std::byte* to) {
  constexpr int64_t kStep = kFar ? 1 : 2;      // from pair to pair
  constexpr int64_t kPartner = kFar ? 16 : 1;  // within one
  const int64_t partner = kPartner * args.k_stride;
  // What Source wants to know of a pair: 2 where both values are there, 1 where the first alone is.
  const auto there = [&](int64_t pair) {
    return (pair * kStep < depth ? 1 : 0) + (pair * kStep + kPartner < depth ? 1 : 0);
  };
  __m512i r[16];
  if (args.k_stride == 1) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      r[i] = i < lines ? Source::along_k(source + i * args.line_stride, depth)
                       : _mm512_setzero_si512();
    }
    if constexpr (!kByLine) avx512::transpose16(r);
  } else if (args.line_stride == 1) {
#pragma GCC unroll 16
    for (int pair = 0; pair < 16; ++pair) {
      r[pair] = there(pair) > 0 ? Source::along_lines(source + pair * kStep * args.k_stride, partner,
                                                      lines, there(pair))
                                : _mm512_setzero_si512();
    }
    if constexpr (kByLine) avx512::transpose16(r);
  } else {
    alignas(64) uint32_t units[16][16] = {};
    for (int64_t line = 0; line < lines && line < 16; ++line) {
      for (int64_t pair = 0; pair < kUnitPairs && there(pair) > 0; ++pair) {
        units[kByLine ? line : pair][kByLine ? pair : line] =
            Source::one(source + line * args.line_stride + pair * kStep * args.k_stride, partner,
                        there(pair));
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(units[i]);
  }
  store_tile(to, r);
}

// The next plane of 16 values: their leading 8 bits of fraction, rounded; x keeps the rest.
inline __m512i take_plane(__m512& x) {
  const __m512i high =
      _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)),
                       _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  x = _mm512_sub_ps(x, _mm512_castsi512_ps(high));
  return high;
}

inline __m512i pair_of(__m512i low, __m512i high) {
  return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
}

// Several planes of f32. A pair is (k, k + 16), on both sides alike, so that two vectors make one
// without a shuffle.
template <int kPlanes, bool kByLine>
void split_tile(const float* source, const PackArgs& args, int64_t lines, int64_t depth,
                std::byte* to, __m512i& largest) {
  __m512 low[16], high[16];
  const bool along_k = args.k_stride == 1;
  if (along_k && lines >= 16 && depth >= 32) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      low[i] = _mm512_loadu_ps(source + i * args.line_stride);
      high[i] = _mm512_loadu_ps(source + i * args.line_stride + 16);
    }
  } else if (along_k) {
    for (int i = 0; i < 16; ++i) {
      const float* from = source + (i < lines ? i : 0) * args.line_stride;
      low[i] = VecF32::load(from, i < lines ? depth : 0).v;
      high[i] = VecF32::load(depth > 16 ? from + 16 : from, i < lines ? depth - 16 : 0).v;
    }
  } else if (args.line_stride == 1) {
    for (int k = 0; k < 16; ++k) {
      low[k] = k < depth ? VecF32::load(source + k * args.k_stride, lines).v : _mm512_setzero_ps();
      high[k] = k + 16 < depth ? VecF32::load(source + (k + 16) * args.k_stride, lines).v
                               : _mm512_setzero_ps();
    }
  } else {
    alignas(64) float values[32][16] = {};
    for (int64_t k = 0; k < depth && k < 32; ++k) {
      for (int64_t line = 0; line < lines && line < 16; ++line) {
        values[k][line] = source[line * args.line_stride + k * args.k_stride];
      }
    }
    for (int k = 0; k < 16; ++k) {
      low[k] = _mm512_load_ps(values[k]);
      high[k] = _mm512_load_ps(values[k + 16]);
    }
  }
  for (int i = 0; i < 16; ++i) {
    // Twice the bits without the sign.
    largest = _mm512_max_epu32(largest, _mm512_slli_epi32(_mm512_castps_si512(low[i]), 1));
    largest = _mm512_max_epu32(largest, _mm512_slli_epi32(_mm512_castps_si512(high[i]), 1));
  }
#pragma GCC unroll 3
  for (int plane = 0; plane < kPlanes; ++plane) {
    __m512i r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = pair_of(take_plane(low[i]), take_plane(high[i]));
    if (along_k != kByLine) avx512::transpose16(r);
    store_tile(to + plane * 2 * kTileBytes, r);
  }
}

template <int kPlanes, bool kByLine, bool kFar = false>
void pack_tiles(const PackArgs& args) {
  auto* to = static_cast<std::byte*>(args.panel);
  __m512i largest = _mm512_setzero_si512();
  const auto each_unit = [&](auto* source, const auto& tile) {
    for (int64_t k = 0; k < args.depth; k += kUnitValues, to += kPlanes * 2 * kTileBytes) {
      for (int64_t line = 0; line < kPanelLines; line += 16) {
        tile(source + line * args.line_stride + k * args.k_stride, args.lines - line,
             args.depth - k, to + line / 16 * kTileBytes);
      }
    }
  };
  if constexpr (kPlanes > 1) {
    each_unit(static_cast<const float*>(args.source), [&](const float* source, int64_t lines,
                                                          int64_t depth, std::byte* tile) {
      split_tile<kPlanes, kByLine>(source, args, lines, depth, tile, largest);
    });
    // NaN, infinite, or so large that rounding to bf16 makes it infinite.
    if (kPlanes == 3 && _mm512_cmpge_epu32_mask(largest, _mm512_set1_epi32(static_cast<int>(0xfeff0000u))) != 0) {
      __atomic_store_n(args.unusual, true, __ATOMIC_RELAXED);
    }
  } else if (args.dtype == DType::bf16) {
    each_unit(static_cast<const uint16_t*>(args.source), [&](const uint16_t* source, int64_t lines,
                                                             int64_t depth, std::byte* tile) {
      using Source = std::conditional_t<kFar, FarPairsOfBf16, PairsOfBf16>;
      pack_tile<Source, kByLine, kFar>(source, args, lines, depth, tile);
    });
  } else {
    each_unit(static_cast<const float*>(args.source), [&](const float* source, int64_t lines,
                                                          int64_t depth, std::byte* tile) {
      pack_tile<PairsOfF32, kByLine, false>(source, args, lines, depth, tile);
    });
  }
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
