// Row kernels for avx512.
#define PALIMPSEST_LEVEL avx512
#include "cpu/scan/kernels.inl"
