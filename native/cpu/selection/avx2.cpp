#include "cpu/simd/avx2.h"
#define PALIMPSEST_LEVEL avx2
#define PALIMPSEST_COMPARE "cpu/selection/compare_avx2.inl"
#include "cpu/selection/kernels.inl"
