#include "cpu/simd/avx512.h"
#define PALIMPSEST_LEVEL avx512
#define PALIMPSEST_KEEP4 "cpu/masks/keep4_avx512.inl"
#include "cpu/masks/kernels.inl"
