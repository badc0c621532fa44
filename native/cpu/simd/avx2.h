// 256-bit vectors with AVX2, FMA and F16C (Haswell, Zen and later).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "palimpsest/dtype.h"

namespace palimpsest::cpu::avx2 {

// Lane i is on where i < n.
inline __m256i first_lanes32(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_lanes64(int64_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

struct VecF32 {
  using Element = float;
  static constexpr int width = 8;
  __m256 v;

  static VecF32 zero() { return {_mm256_setzero_ps()}; }
  static VecF32 set(float x) { return {_mm256_set1_ps(x)}; }
  static VecF32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // The first n lanes; the others are zero.
  static VecF32 load(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first_lanes32(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  // Past the caches, to a multiple of 32 bytes.
  void stream(float* p) const { _mm256_stream_ps(p, v); }
  void store(float* p, int64_t n) const { _mm256_maskstore_ps(p, first_lanes32(n), v); }

  static VecF32 load_bf16(const BFloat16* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16))};
  }
  static VecF32 load_bf16(const BFloat16* p, int64_t n) {
    BFloat16 lanes[8] = {};
    for (int64_t i = 0; i < n && i < 8; ++i) lanes[i] = p[i];
    return load_bf16(lanes);
  }
  // Rounds to nearest, ties to even; NaN stays NaN.
  void store_bf16(BFloat16* p) const {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i chosen = _mm256_blendv_epi8(rounded, quiet, nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(chosen, chosen), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  void store_bf16(BFloat16* p, int64_t n) const {
    BFloat16 lanes[8];
    store_bf16(lanes);
    for (int64_t i = 0; i < n && i < 8; ++i) p[i] = lanes[i];
  }

  friend VecF32 operator+(VecF32 a, VecF32 b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend VecF32 operator-(VecF32 a, VecF32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend VecF32 operator*(VecF32 a, VecF32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend VecF32 operator/(VecF32 a, VecF32 b) { return {_mm256_div_ps(a.v, b.v)}; }
  // a·b + c, rounded once.
  friend VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  friend VecF32 sqrt(VecF32 a) { return {_mm256_sqrt_ps(a.v)}; }
  friend VecF32 abs(VecF32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  // The second operand where one is NaN.
  friend VecF32 max(VecF32 a, VecF32 b) { return {_mm256_max_ps(a.v, b.v)}; }
  friend VecF32 min(VecF32 a, VecF32 b) { return {_mm256_min_ps(a.v, b.v)}; }
  friend float sum(VecF32 a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

struct VecF64 {
  using Element = double;
  static constexpr int width = 4;
  __m256d v;

  static VecF64 zero() { return {_mm256_setzero_pd()}; }
  static VecF64 set(double x) { return {_mm256_set1_pd(x)}; }
  static VecF64 load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static VecF64 load(const double* p, int64_t n) { return {_mm256_maskload_pd(p, first_lanes64(n))}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void store(double* p, int64_t n) const { _mm256_maskstore_pd(p, first_lanes64(n), v); }

  friend VecF64 operator+(VecF64 a, VecF64 b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend VecF64 operator-(VecF64 a, VecF64 b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend VecF64 operator*(VecF64 a, VecF64 b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend VecF64 operator/(VecF64 a, VecF64 b) { return {_mm256_div_pd(a.v, b.v)}; }
  friend VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  friend VecF64 sqrt(VecF64 a) { return {_mm256_sqrt_pd(a.v)}; }
  friend VecF64 abs(VecF64 a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
  friend VecF64 max(VecF64 a, VecF64 b) { return {_mm256_max_pd(a.v, b.v)}; }
  friend VecF64 min(VecF64 a, VecF64 b) { return {_mm256_min_pd(a.v, b.v)}; }
  friend double sum(VecF64 a) {
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
};

// 32-bit words, one in the lower half of each 64-bit lane; what the upper halves hold is undefined.
struct Words {
  static constexpr int width = 4;
  __m256i v;

  // first, first + 1, … in the order of lanes in which store4 takes them; all 64 bits count.
  static Words count_from(uint64_t first) {
    return {_mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(first)),
                             _mm256_setr_epi64x(0, 2, 1, 3))};
  }
  static Words set(uint32_t x) { return {_mm256_set1_epi64x(x)}; }
  // The 64-bit products.
  friend Words operator*(Words a, Words b) { return {_mm256_mul_epu32(a.v, b.v)}; }
  // Upper halves.
  friend Words upper(Words a) { return {_mm256_shuffle_epi32(a.v, 0xf5)}; }
  friend Words xor3(Words a, Words b, Words c) {
    return {_mm256_xor_si256(a.v, _mm256_xor_si256(b.v, c.v))};
  }
  // Four words of each lane, lanes one after the other.
  static void store4(Words c0, Words c1, Words c2, Words c3, uint32_t* p) {
    const __m256i a = _mm256_blend_epi32(c0.v, _mm256_slli_epi64(c1.v, 32), 0xaa);
    const __m256i b = _mm256_blend_epi32(c2.v, _mm256_slli_epi64(c3.v, 32), 0xaa);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_unpacklo_epi64(a, b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), _mm256_unpackhi_epi64(a, b));
  }
};

}  // namespace palimpsest::cpu::avx2
