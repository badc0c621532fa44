// Comparisons one by one, which the compiler may join.
#define PALIMPSEST_LEVEL neon
#include "cpu/selection/kernels.inl"
