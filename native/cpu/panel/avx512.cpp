// Narrow panels: 512-bit vectors, 32 registers.
#include "cpu/simd/avx512.h"

namespace palimpsest::cpu::avx512 {
constexpr bool kManyRegisters = true;
}

#define PALIMPSEST_LEVEL avx512
#include "cpu/panel/kernels.inl"
