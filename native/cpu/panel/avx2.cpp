// Narrow panels: 256-bit vectors, 16 registers.
#include "cpu/simd/avx2.h"

namespace palimpsest::cpu::avx2 {
constexpr bool kManyRegisters = false;
}

#define PALIMPSEST_LEVEL avx2
#include "cpu/panel/kernels.inl"
