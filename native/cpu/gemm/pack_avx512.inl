// Packing for 512-bit kernels. A panel holds, for each unit of k, one unit of each of its lines.
#pragma once

#include "cpu/gemm/driver.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// Source traits: Value, Unit, kLanes (units in a vector), kValues (values in a unit) and
// `along_k(p, n)`: kLanes units of one line from n valid values on; `along_lines(p, k_stride, n,
// depth)`: one unit of n lines, `depth` of its values valid; `one(p, k_stride, depth)`: one unit.
template <typename Source, int kWidth>
void pack(const PackArgs& args) {
  using Unit = typename Source::Unit;
  const auto* source = static_cast<const typename Source::Value*>(args.source);
  auto* panel = static_cast<Unit*>(args.panel);
  const int64_t units = (args.depth + Source::kValues - 1) / Source::kValues;
  const int64_t unit_stride = Source::kValues * args.k_stride;
  if (args.k_stride == 1) {
    for (int64_t k = 0; k < units; k += Source::kLanes) {
      const int64_t count = units - k < Source::kLanes ? units - k : Source::kLanes;
      for (int line = 0; line < kWidth; line += Source::kLanes) {
        __m512i r[Source::kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < Source::kLanes; ++i) {
          r[i] = line + i < args.lines
                     ? Source::along_k(source + (line + i) * args.line_stride + k * Source::kValues,
                                       args.depth - k * Source::kValues)
                     : _mm512_setzero_si512();
        }
        Source::transpose(r);
        Unit* to = panel + k * kWidth + line;
        if (kWidth - line >= Source::kLanes && count == Source::kLanes) {
#pragma GCC unroll 16
          for (int i = 0; i < Source::kLanes; ++i) Source::store(to + i * kWidth, r[i]);
        } else {
          alignas(64) __m512i rows[Source::kLanes];
#pragma GCC unroll 16
          for (int i = 0; i < Source::kLanes; ++i) rows[i] = r[i];
          for (int64_t i = 0; i < count; ++i) Source::store(to + i * kWidth, rows[i], kWidth - line);
        }
      }
    }
  } else if (args.line_stride == 1) {
    for (int64_t k = 0; k < units; ++k) {
      const auto* from = source + k * unit_stride;
#pragma GCC unroll 4
      for (int line = 0; line < kWidth; line += Source::kLanes) {
        Source::store(panel + k * kWidth + line,
                      Source::along_lines(from + line, args.k_stride, args.lines - line,
                                          args.depth - k * Source::kValues),
                      kWidth - line);
      }
    }
  } else {
    for (int64_t k = 0; k < units; ++k) {
      for (int line = 0; line < kWidth; ++line) {
        panel[k * kWidth + line] =
            line < args.lines
                ? Source::one(source + k * unit_stride + line * args.line_stride, args.k_stride,
                              args.depth - k * Source::kValues)
                : Unit(0);
      }
    }
  }
}

// f32 values as they are.
struct SourceF32 {
  using Value = float;
  using Unit = float;
  static constexpr int kLanes = 16;
  static constexpr int kValues = 1;
  static __m512i along_k(const float* p, int64_t n) {
    return _mm512_castps_si512(VecF32::load(p, n).v);
  }
  static __m512i along_lines(const float* p, int64_t, int64_t n, int64_t) {
    return _mm512_castps_si512(VecF32::load(p, n).v);
  }
  static float one(const float* p, int64_t, int64_t) { return *p; }
  static void transpose(__m512i (&r)[16]) { avx512::transpose16(r); }
  static void store(float* p, __m512i x) { _mm512_storeu_si512(p, x); }
  static void store(float* p, __m512i x, int64_t n) {
    _mm512_mask_storeu_epi32(p, first_lanes32(n), x);
  }
};

// f64 values as they are.
struct SourceF64 {
  using Value = double;
  using Unit = double;
  static constexpr int kLanes = 8;
  static constexpr int kValues = 1;
  static __m512i along_k(const double* p, int64_t n) {
    return _mm512_castpd_si512(VecF64::load(p, n).v);
  }
  static __m512i along_lines(const double* p, int64_t, int64_t n, int64_t) {
    return _mm512_castpd_si512(VecF64::load(p, n).v);
  }
  static double one(const double* p, int64_t, int64_t) { return *p; }
  static void transpose(__m512i (&r)[8]) { avx512::transpose8(r); }
  static void store(double* p, __m512i x) { _mm512_storeu_si512(p, x); }
  static void store(double* p, __m512i x, int64_t n) {
    _mm512_mask_storeu_epi64(p, first_lanes64(n), x);
  }
};

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
