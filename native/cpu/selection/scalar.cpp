// Comparisons one by one, which the compiler may join.
#define PALIMPSEST_LEVEL scalar
#include "cpu/selection/kernels.inl"
