// Rows for avx512.
#define PALIMPSEST_LEVEL avx512
#include "cpu/nn/kernels.inl"
