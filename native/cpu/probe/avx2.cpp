// Probes with 256-bit FMA (vfmadd) and non-temporal stores (vmovntps).

#include "cpu/simd/avx2.h"

namespace palimpsest::cpu::avx2 {
namespace {
inline void stream(float* p, VecF32 x) { _mm256_stream_ps(p, x.v); }
}  // namespace
}  // namespace palimpsest::cpu::avx2

#define PALIMPSEST_LEVEL avx2
#include "cpu/probe/kernels.inl"

namespace palimpsest::cpu {
void fill_probe_avx2(KernelTable& table) { avx2::fill(table); }
}  // namespace palimpsest::cpu
