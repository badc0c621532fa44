// Narrow panels: 128-bit vectors, 32 registers.
#include "cpu/simd/neon.h"

namespace palimpsest::cpu::neon {
constexpr bool kManyRegisters = true;
}

#define PALIMPSEST_LEVEL neon
#include "cpu/panel/kernels.inl"
