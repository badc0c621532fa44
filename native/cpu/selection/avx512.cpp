#include "cpu/simd/avx512.h"
#define PALIMPSEST_LEVEL avx512
#define PALIMPSEST_COMPARE "cpu/selection/compare_avx512.inl"
#include "cpu/selection/kernels.inl"
