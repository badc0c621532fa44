// Narrow panels: One lane at a time.
#include "cpu/simd/scalar.h"

namespace palimpsest::cpu::scalar {
constexpr bool kManyRegisters = false;
}

#define PALIMPSEST_LEVEL scalar
#include "cpu/panel/kernels.inl"
