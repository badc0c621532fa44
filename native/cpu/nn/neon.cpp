// Rows for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/nn/kernels.inl"
