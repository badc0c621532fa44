// Row kernels for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/scan/kernels.inl"
