// Row kernels for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/attention/kernels.inl"
