// Packing with plain loops, and the traits of kernels that multiply values one by one. bf16 operands
// are widened while they are packed, f32 operands of a bf16 product rounded first: the products are
// the same, only the rate is that of f32.
#pragma once

#include "cpu/gemm/driver.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

template <typename V, int kTileRows, int kTileVectors>
struct Plain {
  using Vec = V;
  using Unit = typename V::Element;
  using Operand = V;
  static constexpr int kRows = kTileRows;
  static constexpr int kVectors = kTileVectors;
  static V load(const Unit* p) { return V::load(p); }
  static V broadcast(const Unit* p) { return V::set(*p); }
  static V multiply_add(V a, V b, V c) { return fma(a, b, c); }
};

inline float as_is(float x) { return x; }
inline double as_is(double x) { return x; }
inline float widened(uint16_t x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16); }
// To bf16 and back: to nearest, ties to even; NaN stays NaN.
inline float rounded(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1);
  return __builtin_bit_cast(float, (x != x ? bits | 0x400000u : nearest) & 0xffff0000u);
}

template <typename Value, typename Unit, int kWidth, Unit (*kConvert)(Value)>
void pack_plain(const PackArgs& args) {
  const auto* source = static_cast<const Value*>(args.source);
  auto* to = static_cast<Unit*>(args.panel);
  if (args.line_stride == 1 && args.lines == kWidth) {
    for (int64_t k = 0; k < args.depth; ++k, to += kWidth, source += args.k_stride) {
      for (int line = 0; line < kWidth; ++line) to[line] = kConvert(source[line]);
    }
    return;
  }
  for (int line = 0; line < kWidth; ++line, ++to) {
    if (line < args.lines) {
      const Value* from = source + line * args.line_stride;
      for (int64_t k = 0; k < args.depth; ++k) to[k * kWidth] = kConvert(from[k * args.k_stride]);
    } else {
      for (int64_t k = 0; k < args.depth; ++k) to[k * kWidth] = 0;
    }
  }
}

template <int kWidth>
void pack_bf16_as_f32(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack_plain<uint16_t, float, kWidth, widened>(args)
                            : pack_plain<float, float, kWidth, rounded>(args);
}

// bf16 widened, f32 as it is.
template <int kWidth>
void pack_widened(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack_plain<uint16_t, float, kWidth, widened>(args)
                            : pack_plain<float, float, kWidth, as_is>(args);
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
