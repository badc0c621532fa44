// Kernels of small factorizations that have one form for all instruction sets: the CPU's own operations
// need them little, operations for devices (ops/device_factor.cpp) are tested with them.
#pragma once

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {

template <typename T>
void exchange_rows(Context&, T* a, int64_t stride, int64_t cols, int64_t first, int64_t count, const int32_t* pivots);
template <typename T>
void keep_triangle(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, Triangle which);
template <typename T>
void reflector_panel(Context&, T* a, int64_t stride, int64_t w, int64_t length, T* r, int64_t r_stride, T* t,
                     int64_t t_stride);
template <typename T>
Status jacobi(Context&, const JacobiArgs<T>& args);
template <typename T>
void gram_factor(Context&, const double* g, int64_t width, double least, double* upper, T* inverse, int32_t* failed);

}  // namespace palimpsest::cpu
