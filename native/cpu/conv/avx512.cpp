// Direct convolution for avx512: 14 rows of two vectors are what the registers hold.
#include "cpu/simd/avx512.h"

namespace palimpsest::cpu::avx512 {
constexpr int kTileRows = 14;
}
#define PALIMPSEST_LEVEL avx512
#include "cpu/conv/direct.inl"
