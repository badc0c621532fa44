// Rows for avx2.
#define PALIMPSEST_LEVEL avx2
#include "cpu/reduce/kernels.inl"
