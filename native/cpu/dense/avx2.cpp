// Vectors against matrices, small triangles: avx2.
#include "cpu/simd/avx2.h"

#define PALIMPSEST_LEVEL avx2
#include "cpu/dense/kernels.inl"
