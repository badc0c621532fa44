#include "cpu/simd/avx2.h"
#define PALIMPSEST_LEVEL avx2
#include "cpu/masks/kernels.inl"
