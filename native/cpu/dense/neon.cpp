// Vectors against matrices, small triangles: neon.
#include "cpu/simd/neon.h"

#define PALIMPSEST_LEVEL neon
#include "cpu/dense/kernels.inl"
