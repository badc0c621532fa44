// Steps for avx2.
#define PALIMPSEST_LEVEL avx2
#include "cpu/optim/kernels.inl"
