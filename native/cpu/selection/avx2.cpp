// Every processor of this level has BMI1, whose and-not and count of zeros the walk over bits is made of.
#pragma GCC target("bmi,lzcnt,popcnt")
#include "cpu/simd/avx2.h"
#define PALIMPSEST_LEVEL avx2
#define PALIMPSEST_COMPARE "cpu/selection/compare_avx2.inl"
#include "cpu/selection/kernels.inl"
