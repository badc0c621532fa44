// Steps for avx512.
#define PALIMPSEST_LEVEL avx512
#include "cpu/optim/kernels.inl"
