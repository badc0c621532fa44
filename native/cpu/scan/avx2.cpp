// Row kernels for avx2.
#define PALIMPSEST_LEVEL avx2
#include "cpu/scan/kernels.inl"
