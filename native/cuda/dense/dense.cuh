// The kernels of dense factorizations, by file.
#pragma once

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

// panels.cu
template <typename T>
void lu_panel(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, int64_t place, int32_t* pivots,
              int32_t* failed);
template <typename T>
void cholesky_block(Context&, T* a, int64_t stride, int64_t n, int64_t place, int32_t* failed);
template <typename T>
void reflector_panel(Context&, T* a, int64_t stride, int64_t w, int64_t length, T* r, int64_t r_stride, T* t,
                     int64_t t_stride);
template <typename T>
void gram_factor(Context&, const double* g, int64_t width, double least, double* upper, T* inverse, int32_t* failed);

// jacobi.cu
template <typename T>
Status jacobi(Context&, const JacobiArgs<T>&);

}  // namespace palimpsest::cuda
