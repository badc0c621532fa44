// One lane at a time: the reference that every other level is compared with.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "palimpsest/dtype.h"

namespace palimpsest::cpu::scalar {

template <typename T>
struct Vec {
  using Element = T;
  static constexpr int width = 1;
  T v;

  static Vec zero() { return {T(0)}; }
  static Vec set(T x) { return {x}; }
  static Vec load(const T* p) { return {*p}; }
  // The first n (0 or 1) lanes; the others are zero.
  static Vec load(const T* p, int64_t n) { return {n > 0 ? *p : T(0)}; }
  void store(T* p) const { *p = v; }
  void stream(T* p) const { store(p); }
  void store(T* p, int64_t n) const {
    if (n > 0) *p = v;
  }

  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  // a·b + c, rounded once.
  friend Vec fma(Vec a, Vec b, Vec c) { return {std::fma(a.v, b.v, c.v)}; }
  friend Vec sqrt(Vec a) { return {std::sqrt(a.v)}; }
  friend Vec abs(Vec a) { return {std::fabs(a.v)}; }
  // As the x86 instructions: the second operand where one is NaN.
  friend Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  friend Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  friend T sum(Vec a) { return a.v; }
};

struct VecF32 : Vec<float> {
  VecF32() = default;
  VecF32(Vec<float> x) : Vec<float>(x) {}
  static VecF32 load_bf16(const BFloat16* p) { return Vec<float>{to_float(*p)}; }
  static VecF32 load_bf16(const BFloat16* p, int64_t n) {
    return Vec<float>{n > 0 ? to_float(*p) : 0.0f};
  }
  void store_bf16(BFloat16* p) const { *p = to_bf16(v); }
  void store_bf16(BFloat16* p, int64_t n) const {
    if (n > 0) *p = to_bf16(v);
  }
};
using VecF64 = Vec<double>;


// A 32-bit word in the lower half of 64 bits; what the upper half holds is undefined.
struct Words {
  static constexpr int width = 1;
  uint64_t v;

  static Words count_from(uint64_t first) { return {first}; }
  static Words set(uint32_t x) { return {x}; }
  // The 64-bit product.
  friend Words operator*(Words a, Words b) {
    return {static_cast<uint64_t>(static_cast<uint32_t>(a.v)) * static_cast<uint32_t>(b.v)};
  }
  friend Words upper(Words a) { return {a.v >> 32}; }
  friend Words xor3(Words a, Words b, Words c) { return {a.v ^ b.v ^ c.v}; }
  static void store4(Words c0, Words c1, Words c2, Words c3, uint32_t* p) {
    p[0] = static_cast<uint32_t>(c0.v);
    p[1] = static_cast<uint32_t>(c1.v);
    p[2] = static_cast<uint32_t>(c2.v);
    p[3] = static_cast<uint32_t>(c3.v);
  }
};

}  // namespace palimpsest::cpu::scalar
