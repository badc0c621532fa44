#include "cpu/simd/neon.h"
#define PALIMPSEST_LEVEL neon
#include "cpu/random/kernels.inl"
