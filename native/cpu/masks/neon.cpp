#include "cpu/simd/neon.h"
#define PALIMPSEST_LEVEL neon
#include "cpu/masks/kernels.inl"
