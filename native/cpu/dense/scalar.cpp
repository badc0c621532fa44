// Vectors against matrices, small triangles: scalar.
#include "cpu/simd/scalar.h"

#define PALIMPSEST_LEVEL scalar
#include "cpu/dense/kernels.inl"
