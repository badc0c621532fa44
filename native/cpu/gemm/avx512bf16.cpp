// Matrix products of bf16 pairs: vdpbf16ps multiplies two adjacent k's of 16 columns at once and
// sums in f32. Floor: 2mnk FLOPs at its rate, twice that of f32. Panels hold pairs; the shape of the
// tile is that of the f32 kernel. f32 operands are rounded while they are packed.

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL avx512bf16
namespace palimpsest::cpu::avx512bf16 {
using avx512::first_lanes32;
using avx512::first_lanes64;
using avx512::VecF32;
using avx512::VecF64;
}  // namespace palimpsest::cpu::avx512bf16

#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pack_avx512.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace avx512bf16 {
namespace {

struct Pairs {
  using Vec = VecF32;
  using Unit = uint32_t;
  using Operand = __m512i;
  static constexpr int kRows = 14;
  static constexpr int kVectors = 2;
  static __m512i load(const uint32_t* p) { return _mm512_loadu_si512(p); }
  static __m512i broadcast(const uint32_t* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static VecF32 multiply_add(__m512i a, __m512i b, VecF32 c) {
    return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b))};
  }
};

struct PairStore {
  using Unit = uint32_t;
  static constexpr int kLanes = 16;
  static constexpr int kValues = 2;
  static void transpose(__m512i (&r)[16]) { transpose16(r); }
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

template <int kWidth>
void pack_pairs(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack<PairsOfBf16, kWidth>(args) : pack<PairsOfF32, kWidth>(args);
}

constexpr TileKernel kBf16 = {14, 32, 2, 4, 4, 384, pack_pairs<14>, pack_pairs<32>, block<Pairs>};

Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}

}  // namespace
}  // namespace avx512bf16

void fill_gemm_avx512bf16(KernelTable& table) { table.gemm.bf16 = avx512bf16::gemm_bf16; }

}  // namespace palimpsest::cpu
