// Sources of bf16 pairs: units of two adjacent k's, from bf16 values or from f32 values rounded to
// nearest, ties to even.
#pragma once

#include "cpu/gemm/pack_avx512.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

struct PairStore {
  using Unit = uint32_t;
  static constexpr int kLanes = 16;
  static constexpr int kValues = 2;
  static void transpose(__m512i (&r)[16]) { avx512::transpose16(r); }
  static void store(uint32_t* p, __m512i x) { _mm512_storeu_si512(p, x); }
  static void store(uint32_t* p, __m512i x, int64_t n) {
    _mm512_mask_storeu_epi32(p, first_lanes32(n), x);
  }
  // Pairs (low, high) of two lines' 16 values each.
  static __m512i interleave(__m256i low, __m256i high) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
  }
};

inline __m256i round16(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

struct PairsOfF32 : PairStore {
  using Value = float;
  static __m512i along_k(const float* p, int64_t n) {
    return reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(VecF32::load(n > 16 ? p + 16 : p, n - 16).v, VecF32::load(p, n).v));
  }
  static __m512i along_lines(const float* p, int64_t k_stride, int64_t n, int64_t depth) {
    const __m256i low = round16(VecF32::load(p, n).v);
    return interleave(low, depth > 1 ? round16(VecF32::load(p + k_stride, n).v)
                                     : _mm256_setzero_si256());
  }
  static uint32_t bits(float x) {
    return static_cast<uint16_t>(
        _mm_extract_epi16(reinterpret_cast<__m128i>(_mm_cvtneps_pbh(_mm_set_ss(x))), 0));
  }
  static uint32_t one(const float* p, int64_t k_stride, int64_t depth) {
    return bits(*p) | (depth > 1 ? bits(p[k_stride]) << 16 : 0);
  }
};

struct PairsOfBf16 : PairStore {
  using Value = uint16_t;
  static __m512i along_k(const uint16_t* p, int64_t n) {
    return _mm512_maskz_loadu_epi16(n >= 32 ? 0xffffffffu : (1u << (n < 0 ? 0 : n)) - 1u, p);
  }
  static __m512i along_lines(const uint16_t* p, int64_t k_stride, int64_t n, int64_t depth) {
    const __mmask16 mask = first_lanes32(n);
    return interleave(_mm256_maskz_loadu_epi16(mask, p),
                      depth > 1 ? _mm256_maskz_loadu_epi16(mask, p + k_stride)
                                : _mm256_setzero_si256());
  }
  static uint32_t one(const uint16_t* p, int64_t k_stride, int64_t depth) {
    return *p | (depth > 1 ? static_cast<uint32_t>(p[k_stride]) << 16 : 0);
  }
};

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
