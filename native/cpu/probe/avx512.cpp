// Probes with 512-bit FMA (vfmadd) and non-temporal stores (vmovntps).

#include "cpu/simd/avx512.h"

namespace palimpsest::cpu::avx512 {
namespace {
inline void stream(float* p, VecF32 x) { _mm512_stream_ps(p, x.v); }
}  // namespace
}  // namespace palimpsest::cpu::avx512

#define PALIMPSEST_LEVEL avx512
#include "cpu/probe/kernels.inl"

namespace palimpsest::cpu {
void fill_probe_avx512(KernelTable& table) { avx512::fill(table); }
}  // namespace palimpsest::cpu
