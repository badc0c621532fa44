#include "cpu/simd/avx512.h"
#define PALIMPSEST_LEVEL avx512
#include "cpu/random/kernels.inl"
