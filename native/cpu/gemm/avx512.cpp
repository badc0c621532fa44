// Matrix products with 512-bit fused multiply-adds. Floor: 2mnk FLOPs at the FMA rate. A tile of
// 14 × 2 vectors of D stays in 28 registers while panels of A and B stream past: 16 loads for 28
// multiply-adds.

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL avx512
#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pack_avx512.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace avx512 {
namespace {

template <typename V>
struct Plain {
  using Vec = V;
  using Unit = typename V::Element;
  using Operand = V;
  static constexpr int kRows = 14;
  static constexpr int kVectors = 2;
  static V load(const Unit* p) { return V::load(p); }
  static V broadcast(const Unit* p) { return V::set(*p); }
  static V multiply_add(V a, V b, V c) { return fma(a, b, c); }
};

constexpr TileKernel kF32 = {14, 32, 1, 4, 4, 384, pack<SourceF32, 14>, pack<SourceF32, 32>,
                             block<Plain<VecF32>>};
constexpr TileKernel kF64 = {14, 16, 1, 8, 8, 256, pack<SourceF64, 14>, pack<SourceF64, 16>,
                             block<Plain<VecF64>>};

Status gemm_f32(Context& context, const GemmArgs& args) { return blocked_gemm(context, args, kF32); }
Status gemm_f64(Context& context, const GemmArgs& args) { return blocked_gemm(context, args, kF64); }

}  // namespace
}  // namespace avx512

void fill_gemm_avx512(KernelTable& table) {
  table.gemm.f32 = avx512::gemm_f32;
  table.gemm.f64 = avx512::gemm_f64;
}

}  // namespace palimpsest::cpu
