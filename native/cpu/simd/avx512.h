// 512-bit vectors with AVX-512 F, DQ, BW and VL (Skylake-SP, Zen 4 and later).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "palimpsest/dtype.h"

namespace palimpsest::cpu::avx512 {

// Lane i is on where i < n.
inline __mmask16 first_lanes32(int64_t n) {
  return n >= 16 ? __mmask16(0xffff) : static_cast<__mmask16>((1u << (n < 0 ? 0 : n)) - 1u);
}
inline __mmask8 first_lanes64(int64_t n) {
  return n >= 8 ? __mmask8(0xff) : static_cast<__mmask8>((1u << (n < 0 ? 0 : n)) - 1u);
}

struct VecF32 {
  using Element = float;
  static constexpr int width = 16;
  __m512 v;

  static VecF32 zero() { return {_mm512_setzero_ps()}; }
  static VecF32 set(float x) { return {_mm512_set1_ps(x)}; }
  static VecF32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first n lanes; the others are zero.
  static VecF32 load(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first_lanes32(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  // Past the caches, to a multiple of 64 bytes.
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  void store(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, first_lanes32(n), v); }

  static VecF32 load_bf16(const BFloat16* p) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static VecF32 load_bf16(const BFloat16* p, int64_t n) {
    return widen(_mm256_maskz_loadu_epi16(first_lanes32(n), p));
  }
  void store_bf16(BFloat16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow());
  }
  void store_bf16(BFloat16* p, int64_t n) const {
    _mm256_mask_storeu_epi16(p, first_lanes32(n), narrow());
  }
  static VecF32 widen(__m256i half) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  // Rounds to nearest, ties to even; NaN stays NaN.
  __m256i narrow() const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40)));
  }

  friend VecF32 operator+(VecF32 a, VecF32 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend VecF32 operator-(VecF32 a, VecF32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend VecF32 operator*(VecF32 a, VecF32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend VecF32 operator/(VecF32 a, VecF32 b) { return {_mm512_div_ps(a.v, b.v)}; }
  // a·b + c, rounded once.
  friend VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend VecF32 sqrt(VecF32 a) { return {_mm512_sqrt_ps(a.v)}; }
  friend VecF32 abs(VecF32 a) { return {_mm512_abs_ps(a.v)}; }
  // The second operand where one is NaN.
  friend VecF32 max(VecF32 a, VecF32 b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend VecF32 min(VecF32 a, VecF32 b) { return {_mm512_min_ps(a.v, b.v)}; }
  friend float sum(VecF32 a) { return _mm512_reduce_add_ps(a.v); }
};

// The sums of four vectors' lanes, side by side.
inline void store_sums(const VecF32 (&x)[4], float* p) {
  const auto halves = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  };
  const __m512 ab = halves(x[0].v, x[1].v);
  const __m512 cd = halves(x[2].v, x[3].v);
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

struct VecF64 {
  using Element = double;
  static constexpr int width = 8;
  __m512d v;

  static VecF64 zero() { return {_mm512_setzero_pd()}; }
  static VecF64 set(double x) { return {_mm512_set1_pd(x)}; }
  static VecF64 load(const double* p) { return {_mm512_loadu_pd(p)}; }
  // The first n lanes; the others are zero.
  static VecF64 load(const double* p, int64_t n) { return {_mm512_maskz_loadu_pd(first_lanes64(n), p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void store(double* p, int64_t n) const { _mm512_mask_storeu_pd(p, first_lanes64(n), v); }

  friend VecF64 operator+(VecF64 a, VecF64 b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend VecF64 operator-(VecF64 a, VecF64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend VecF64 operator*(VecF64 a, VecF64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend VecF64 operator/(VecF64 a, VecF64 b) { return {_mm512_div_pd(a.v, b.v)}; }
  // a·b + c, rounded once.
  friend VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  friend VecF64 sqrt(VecF64 a) { return {_mm512_sqrt_pd(a.v)}; }
  friend VecF64 abs(VecF64 a) { return {_mm512_abs_pd(a.v)}; }
  // The second operand where one is NaN.
  friend VecF64 max(VecF64 a, VecF64 b) { return {_mm512_max_pd(a.v, b.v)}; }
  friend VecF64 min(VecF64 a, VecF64 b) { return {_mm512_min_pd(a.v, b.v)}; }
  friend double sum(VecF64 a) { return _mm512_reduce_add_pd(a.v); }
};

// 16×16 transpose of 32-bit lanes.
inline void transpose16(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // r[4g + c] now holds column c + 4·lane of rows 4g … 4g + 3, one quarter a 128-bit lane.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
    const __m512i high = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
    const __m512i low2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
    const __m512i high2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_i32x4(low, low2, 0x88);
    t[8 + c] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    t[4 + c] = _mm512_shuffle_i32x4(high, high2, 0x88);
    t[12 + c] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// 8×8 transpose of 64-bit lanes.
inline void transpose8(__m512i (&r)[8]) {
  __m512i t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    const __m512i low = _mm512_shuffle_i64x2(t[c], t[2 + c], 0x88);
    const __m512i high = _mm512_shuffle_i64x2(t[c], t[2 + c], 0xdd);
    const __m512i low2 = _mm512_shuffle_i64x2(t[4 + c], t[6 + c], 0x88);
    const __m512i high2 = _mm512_shuffle_i64x2(t[4 + c], t[6 + c], 0xdd);
    r[c] = _mm512_shuffle_i64x2(low, low2, 0x88);
    r[4 + c] = _mm512_shuffle_i64x2(low, low2, 0xdd);
    r[2 + c] = _mm512_shuffle_i64x2(high, high2, 0x88);
    r[6 + c] = _mm512_shuffle_i64x2(high, high2, 0xdd);
  }
}

inline void transpose(VecF32 (&lines)[16]) {
  __m512i r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(lines[i].v);
  transpose16(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) lines[i].v = _mm512_castsi512_ps(r[i]);
}

inline void transpose(VecF64 (&lines)[8]) {
  __m512i r[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm512_castpd_si512(lines[i].v);
  transpose8(r);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) lines[i].v = _mm512_castsi512_pd(r[i]);
}

// 32-bit words, one in the lower half of each 64-bit lane; what the upper halves hold is undefined.
struct Words {
  static constexpr int width = 8;
  __m512i v;

  // first, first + 1, … in the order of lanes in which store4 takes them; all 64 bits count.
  static Words count_from(uint64_t first) {
    return {_mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(first)),
                             _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7))};
  }
  static Words set(uint32_t x) { return {_mm512_set1_epi64(x)}; }
  // The 64-bit products.
  friend Words operator*(Words a, Words b) { return {_mm512_mul_epu32(a.v, b.v)}; }
  // Upper halves. A shuffle: shifts share a port with the product.
  friend Words upper(Words a) { return {_mm512_shuffle_epi32(a.v, _MM_PERM_DDBB)}; }
  friend Words xor3(Words a, Words b, Words c) {
    return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0x96)};
  }
  // Four words of each lane, lanes one after the other.
  static void store4(Words c0, Words c1, Words c2, Words c3, uint32_t* p) {
    const __m512i a = _mm512_mask_shuffle_epi32(c0.v, 0xaaaa, c1.v, _MM_PERM_CCAA);
    const __m512i b = _mm512_mask_shuffle_epi32(c2.v, 0xaaaa, c3.v, _MM_PERM_CCAA);
    _mm512_storeu_si512(p, _mm512_unpacklo_epi64(a, b));
    _mm512_storeu_si512(p + 16, _mm512_unpackhi_epi64(a, b));
  }
};

}  // namespace palimpsest::cpu::avx512
