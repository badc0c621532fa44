// Matrix products with 256-bit fused multiply-adds. Floor: 2mnk FLOPs at the FMA rate. A tile of
// 6 × 2 vectors takes 12 of the 16 registers; two more hold B's line and one A's value.

#include "cpu/simd/avx2.h"

#define PALIMPSEST_LEVEL avx2
#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pack.inl"
#include "cpu/gemm/small.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace avx2 {
namespace {

constexpr int kRows = 6;
constexpr int kVectors = 2;
constexpr int kCols32 = kVectors * VecF32::width;
constexpr int kCols64 = kVectors * VecF64::width;

constexpr TileKernel kF32 = {kRows, kCols32, 1, 4, 4, 4, 384, 16, 16, 24,
                             pack_plain<float, float, kRows, as_is>,
                             pack_plain<float, float, kCols32, as_is>,
                             block<VectorTile<Plain<VecF32, kRows, kVectors>>>};
constexpr TileKernel kF64 = {kRows, kCols64, 1, 8, 8, 8, 384, 16, 16, 24,
                             pack_plain<double, double, kRows, as_is>,
                             pack_plain<double, double, kCols64, as_is>,
                             block<VectorTile<Plain<VecF64, kRows, kVectors>>>};
constexpr TileKernel kBf16 = {kRows, kCols32, 1, 4, 4, 4, 384, 16, 16, 24, pack_bf16_as_f32<kRows>,
                              pack_bf16_as_f32<kCols32>, block<VectorTile<Plain<VecF32, kRows, kVectors>>>};

constexpr TileKernel kMixed = {kRows, kCols32, 1, 4, 4, 4, 384, 16, 16, 24, pack_widened<kRows>,
                               pack_widened<kCols32>, block<VectorTile<Plain<VecF32, kRows, kVectors>>>};

Status gemm_f32(Context& context, const GemmArgs& args) {
  if (small_product<VecF32, kRows, kVectors>(context, args, kF32.pack_b)) return {};
  return blocked_gemm(context, args, kF32);
}
Status gemm_f64(Context& context, const GemmArgs& args) {
  if (small_product<VecF64, kRows, kVectors>(context, args, kF64.pack_b)) return {};
  return blocked_gemm(context, args, kF64);
}
Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}
Status gemm_mixed(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kMixed);
}

}  // namespace
}  // namespace avx2

void fill_gemm_avx2(KernelTable& table) {
  table.gemm = {.f32 = avx2::gemm_f32, .f64 = avx2::gemm_f64, .bf16 = avx2::gemm_bf16,
                .mixed = avx2::gemm_mixed, .takes_scales = true};
}

}  // namespace palimpsest::cpu
