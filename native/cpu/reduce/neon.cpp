// Rows for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/reduce/kernels.inl"
