// The bf16 dot-product instruction (vdpbf16ps): 32 products and 32 sums each.

#include <immintrin.h>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

constexpr int kChains = 12;
constexpr int64_t kRounds = 4096;

double dot_products(int64_t repetitions) {
  // 1.0 in each half; volatile, so that the compiler does not know it.
  const volatile int ones = 0x3f803f80;
  const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(ones));
  __m512 sums[kChains];
  for (__m512& s : sums) s = _mm512_setzero_ps();
  for (int64_t r = 0; r < repetitions; ++r) {
#pragma GCC unroll 12
    for (__m512& s : sums) s = _mm512_dpbf16_ps(s, a, a);
  }
  double total = 0;
  for (const __m512& s : sums) total += static_cast<double>(_mm512_reduce_add_ps(s));
  return total;
}

Status dot_bf16(Context& context, const ProbeArgs& args) {
  context.parallel(kProbeTasks, [&](int64_t task) {
    args.sink[task] = dot_products(kRounds * args.repetitions);
  });
  return {};
}

}  // namespace

void fill_probe_avx512bf16(KernelTable& table) {
  table.probe.dot_bf16 = {dot_bf16, 2 * 32 * kChains * kRounds};
}

}  // namespace palimpsest::cpu
