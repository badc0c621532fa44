// Probes with 128-bit FMA (fmla).

#include "cpu/simd/neon.h"

namespace palimpsest::cpu::neon {
namespace {
inline void stream(float* p, VecF32 x) { x.store(p); }
}  // namespace
}  // namespace palimpsest::cpu::neon

#define PALIMPSEST_LEVEL neon
#include "cpu/probe/kernels.inl"

namespace palimpsest::cpu {
void fill_probe_neon(KernelTable& table) { neon::fill(table); }
}  // namespace palimpsest::cpu
