// Steps for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/optim/kernels.inl"
