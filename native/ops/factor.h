// What the factorizations share: typed access to the kernel table, products and copies in one line.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "core/matrix_view.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"
#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

template <typename T>
const DenseKernels<T>& dense_kernels(const Context& context) {
  if constexpr (sizeof(T) == 4) {
    return context.kernels.dense32;
  } else {
    return context.kernels.dense64;
  }
}

template <typename T>
const PanelKernels<T>& panel_kernels(const Context& context) {
  if constexpr (sizeof(T) == 4) {
    return context.kernels.panel32;
  } else {
    return context.kernels.panel64;
  }
}

// A row-major matrix with a row stride of its own.
template <typename T>
Matrix strided(T* data, int64_t rows, int64_t cols, int64_t row_stride) {
  return {const_cast<void*>(static_cast<const void*>(data)), dtype_of<std::remove_const_t<T>>, rows, cols,
          row_stride, 1, 0};
}

// Rows [row, row + rows) and columns [col, col + cols) of a matrix.
inline Matrix part(const Matrix& m, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  Matrix p = m;
  p.data = static_cast<std::byte*>(m.data) + (row * m.row_stride + col * m.col_stride) *
                                                 static_cast<int64_t>(size_of(m.dtype));
  p.rows = rows;
  p.cols = cols;
  return p;
}

inline Status copy(Context& context, const Matrix& from, const Matrix& to) {
  return context.kernels.elementwise.unary(context, {Unary::copy, view_of(to), view_of(from)});
}

// d = alpha·a·b + beta·d. `symmetric` promises that the result is.
inline Status product(Context& context, const Matrix& a, const Matrix& b, const Matrix& d,
                      double alpha = 1, double beta = 0, bool symmetric = false) {
  if (d.rows == 0 || d.cols == 0) return {};
  GemmArgs args;
  args.a = a;
  args.b = b;
  args.d = d;
  if (beta != 0) args.c = d;
  args.alpha = alpha;
  args.beta = beta;
  args.symmetric = symmetric;
  return d.dtype == DType::f64 ? context.kernels.gemm.f64(context, args)
                               : context.kernels.gemm.f32(context, args);
}

inline Status check_finite(Context& context, const Matrix& m, const char* operation) {
  bool finite = true;
  PALIMPSEST_TRY(context.kernels.reduce.all_finite(context, view_of(m), finite));
  if (finite) return {};
  return {Code::numerical, std::string(operation) + ": the matrix holds NaN or Inf"};
}

inline Status check_abort(const Context& context) {
  if (context.aborted()) return {Code::aborted, "aborted"};
  return {};
}

// The work in the matrix's own type.
#define PALIMPSEST_BY_DTYPE(dtype, call) \
  ((dtype) == DType::f64 ? call<double> : call<float>)

}  // namespace palimpsest
