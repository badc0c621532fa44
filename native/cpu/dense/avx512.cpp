// Vectors against matrices, small triangles: avx512.
#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL avx512
#include "cpu/dense/kernels.inl"
