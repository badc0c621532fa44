// Direct convolution for avx2: 6 rows of two vectors are what the registers hold.
#include "cpu/simd/avx2.h"

namespace palimpsest::cpu::avx2 {
constexpr int kTileRows = 6;
}
#define PALIMPSEST_LEVEL avx2
#include "cpu/conv/direct.inl"
