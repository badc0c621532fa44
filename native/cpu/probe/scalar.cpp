// Probes with what every processor has: one element an instruction, plain stores.

#include "cpu/simd/scalar.h"

namespace palimpsest::cpu::scalar {
namespace {
inline void stream(float* p, VecF32 x) { x.store(p); }
}  // namespace
}  // namespace palimpsest::cpu::scalar

#define PALIMPSEST_LEVEL scalar
#include "cpu/probe/kernels.inl"

namespace palimpsest::cpu {
void fill_probe_scalar(KernelTable& table) { scalar::fill(table); }
}  // namespace palimpsest::cpu
