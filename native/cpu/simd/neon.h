// 128-bit vectors of arm64.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "palimpsest/dtype.h"

namespace palimpsest::cpu::neon {

struct VecF32 {
  using Element = float;
  static constexpr int width = 4;
  float32x4_t v;

  static VecF32 zero() { return {vdupq_n_f32(0)}; }
  static VecF32 set(float x) { return {vdupq_n_f32(x)}; }
  static VecF32 load(const float* p) { return {vld1q_f32(p)}; }
  // The first n lanes; the others are zero.
  static VecF32 load(const float* p, int64_t n) {
    float lanes[4] = {};
    for (int64_t i = 0; i < n && i < 4; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void stream(float* p) const { store(p); }
  void store(float* p, int64_t n) const {
    float lanes[4];
    store(lanes);
    for (int64_t i = 0; i < n && i < 4; ++i) p[i] = lanes[i];
  }

  static VecF32 load_bf16(const BFloat16* p) {
    const uint16x4_t half = vld1_u16(reinterpret_cast<const uint16_t*>(p));
    return {vreinterpretq_f32_u32(vshll_n_u16(half, 16))};
  }
  static VecF32 load_bf16(const BFloat16* p, int64_t n) {
    BFloat16 lanes[4] = {};
    for (int64_t i = 0; i < n && i < 4; ++i) lanes[i] = p[i];
    return load_bf16(lanes);
  }
  void store_bf16(BFloat16* p) const { store_bf16(p, 4); }
  void store_bf16(BFloat16* p, int64_t n) const {
    float lanes[4];
    store(lanes);
    for (int64_t i = 0; i < n && i < 4; ++i) p[i] = to_bf16(lanes[i]);
  }

  friend VecF32 operator+(VecF32 a, VecF32 b) { return {vaddq_f32(a.v, b.v)}; }
  friend VecF32 operator-(VecF32 a, VecF32 b) { return {vsubq_f32(a.v, b.v)}; }
  friend VecF32 operator*(VecF32 a, VecF32 b) { return {vmulq_f32(a.v, b.v)}; }
  friend VecF32 operator/(VecF32 a, VecF32 b) { return {vdivq_f32(a.v, b.v)}; }
  // a·b + c, rounded once.
  friend VecF32 fma(VecF32 a, VecF32 b, VecF32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  friend VecF32 sqrt(VecF32 a) { return {vsqrtq_f32(a.v)}; }
  friend VecF32 abs(VecF32 a) { return {vabsq_f32(a.v)}; }
  // The second operand where one is NaN.
  friend VecF32 max(VecF32 a, VecF32 b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  friend VecF32 min(VecF32 a, VecF32 b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  friend float sum(VecF32 a) { return vaddvq_f32(a.v); }
};

struct VecF64 {
  using Element = double;
  static constexpr int width = 2;
  float64x2_t v;

  static VecF64 zero() { return {vdupq_n_f64(0)}; }
  static VecF64 set(double x) { return {vdupq_n_f64(x)}; }
  static VecF64 load(const double* p) { return {vld1q_f64(p)}; }
  // The first n lanes; the others are zero.
  static VecF64 load(const double* p, int64_t n) {
    double lanes[2] = {};
    for (int64_t i = 0; i < n && i < 2; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  void store(double* p) const { vst1q_f64(p, v); }
  void store(double* p, int64_t n) const {
    double lanes[2];
    store(lanes);
    for (int64_t i = 0; i < n && i < 2; ++i) p[i] = lanes[i];
  }

  friend VecF64 operator+(VecF64 a, VecF64 b) { return {vaddq_f64(a.v, b.v)}; }
  friend VecF64 operator-(VecF64 a, VecF64 b) { return {vsubq_f64(a.v, b.v)}; }
  friend VecF64 operator*(VecF64 a, VecF64 b) { return {vmulq_f64(a.v, b.v)}; }
  friend VecF64 operator/(VecF64 a, VecF64 b) { return {vdivq_f64(a.v, b.v)}; }
  // a·b + c, rounded once.
  friend VecF64 fma(VecF64 a, VecF64 b, VecF64 c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
  friend VecF64 sqrt(VecF64 a) { return {vsqrtq_f64(a.v)}; }
  friend VecF64 abs(VecF64 a) { return {vabsq_f64(a.v)}; }
  // The second operand where one is NaN.
  friend VecF64 max(VecF64 a, VecF64 b) { return {vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v)}; }
  friend VecF64 min(VecF64 a, VecF64 b) { return {vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v)}; }
  friend double sum(VecF64 a) { return vaddvq_f64(a.v); }
};

// 32-bit words, one in the lower half of each 64-bit lane; what the upper halves hold is undefined.
struct Words {
  static constexpr int width = 2;
  uint64x2_t v;

  // first, first + 1; all 64 bits count.
  static Words count_from(uint64_t first) {
    return {vcombine_u64(vcreate_u64(first), vcreate_u64(first + 1))};
  }
  static Words set(uint32_t x) { return {vdupq_n_u64(x)}; }
  // The 64-bit products.
  friend Words operator*(Words a, Words b) { return {vmull_u32(vmovn_u64(a.v), vmovn_u64(b.v))}; }
  // Upper halves.
  friend Words upper(Words a) { return {vshrq_n_u64(a.v, 32)}; }
  friend Words xor3(Words a, Words b, Words c) { return {veorq_u64(a.v, veorq_u64(b.v, c.v))}; }
  // Four words of each lane, lanes one after the other.
  static void store4(Words c0, Words c1, Words c2, Words c3, uint32_t* p) {
    const uint64x2_t a = vreinterpretq_u64_u32(
        vtrn1q_u32(vreinterpretq_u32_u64(c0.v), vreinterpretq_u32_u64(c1.v)));
    const uint64x2_t b = vreinterpretq_u64_u32(
        vtrn1q_u32(vreinterpretq_u32_u64(c2.v), vreinterpretq_u32_u64(c3.v)));
    vst1q_u32(p, vreinterpretq_u32_u64(vzip1q_u64(a, b)));
    vst1q_u32(p + 4, vreinterpretq_u32_u64(vzip2q_u64(a, b)));
  }
};

}  // namespace palimpsest::cpu::neon
