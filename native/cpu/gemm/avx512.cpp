// Matrix products with 512-bit fused multiply-adds. Floor: 2mnk FLOPs at the FMA rate. A tile of
// 14 × 2 vectors of D stays in 28 registers while panels of A and B stream past: 16 loads for 28
// multiply-adds.

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL avx512
#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pack.inl"
#include "cpu/gemm/pack_avx512.inl"
#include "cpu/gemm/small.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace avx512 {
namespace {

constexpr TileKernel kF32 = {14, 32, 1, 4, 4, 4, 384, 16, 16, 24, pack<SourceF32, 14>, pack<SourceF32, 32>,
                             block<VectorTile<Plain<VecF32, 14, 2>>>};
constexpr TileKernel kF64 = {14, 16, 1, 8, 8, 8, 256, 16, 16, 24, pack<SourceF64, 14>, pack<SourceF64, 16>,
                             block<VectorTile<Plain<VecF64, 14, 2>>>};
constexpr TileKernel kBf16 = {14, 32, 1, 4, 4, 4, 384, 16, 16, 24, pack_bf16_as_f32<14>, pack_bf16_as_f32<32>,
                              block<VectorTile<Plain<VecF32, 14, 2>>>};

// bf16 widened, f32 as it is.
template <int kWidth>
void pack_mixed(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack_widened<kWidth>(args) : pack<SourceF32, kWidth>(args);
}
constexpr TileKernel kMixed = {14, 32, 1, 4, 4, 4, 384, 16, 16, 24, pack_mixed<14>, pack_mixed<32>,
                               block<VectorTile<Plain<VecF32, 14, 2>>>};

Status gemm_f32(Context& context, const GemmArgs& args) {
  if (small_product<VecF32, 14, 2>(context, args, kF32.pack_b)) return {};
  return blocked_gemm(context, args, kF32);
}
Status gemm_f64(Context& context, const GemmArgs& args) {
  if (small_product<VecF64, 14, 2>(context, args, kF64.pack_b)) return {};
  return blocked_gemm(context, args, kF64);
}
Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}
Status gemm_mixed(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kMixed);
}

}  // namespace
}  // namespace avx512

void fill_gemm_avx512(KernelTable& table) {
  table.gemm = {.f32 = avx512::gemm_f32, .f64 = avx512::gemm_f64, .bf16 = avx512::gemm_bf16,
                .mixed = avx512::gemm_mixed, .takes_scales = true};
}

}  // namespace palimpsest::cpu
