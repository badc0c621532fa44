// Row kernels for neon.
#define PALIMPSEST_LEVEL neon
#include "cpu/spiking/kernels.inl"
