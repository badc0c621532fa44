// Every processor of this level has BMI1, whose and-not and count of zeros the walk over bits is made of.
#pragma GCC target("bmi,lzcnt,popcnt")
#include "cpu/simd/avx512.h"
#define PALIMPSEST_LEVEL avx512
#define PALIMPSEST_COMPARE "cpu/selection/compare_avx512.inl"
#include "cpu/selection/kernels.inl"
