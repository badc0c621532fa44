// Direct convolution for neon: 12 rows of two vectors are what the registers hold.
#include "cpu/simd/neon.h"

namespace palimpsest::cpu::neon {
constexpr int kTileRows = 12;
}
#define PALIMPSEST_LEVEL neon
#include "cpu/conv/direct.inl"
