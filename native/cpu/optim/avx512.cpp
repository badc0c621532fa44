// Steps for avx512.
#include "cpu/simd/avx512.h"
#define PALIMPSEST_LEVEL avx512
#include "cpu/optim/kernels.inl"
