// Rows for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/elementwise/kernels.inl"
