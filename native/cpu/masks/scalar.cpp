#include "cpu/simd/scalar.h"
#define PALIMPSEST_LEVEL scalar
#include "cpu/masks/kernels.inl"
