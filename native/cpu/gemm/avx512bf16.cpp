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

namespace {
// vcvtneps2bf16: to nearest, ties to even, like VecF32::store_bf16, but denormals become zero.
void store_rounded(VecF32 x, BFloat16* p, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes32(n),
                           reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}
}  // namespace
}  // namespace palimpsest::cpu::avx512bf16

#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pairs_avx512.inl"
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

template <int kWidth>
void pack_pairs(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack<PairsOfBf16, kWidth>(args) : pack<PairsOfF32, kWidth>(args);
}

constexpr TileKernel kBf16 = {14, 32, 2, 4, 4, 4, 384, 16, 16, 24, pack_pairs<14>, pack_pairs<32>, block<VectorTile<Pairs>>};

Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}

}  // namespace
}  // namespace avx512bf16

void fill_gemm_avx512bf16(KernelTable& table) { table.gemm.bf16 = avx512bf16::gemm_bf16; }

}  // namespace palimpsest::cpu
