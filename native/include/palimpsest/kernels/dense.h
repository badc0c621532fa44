// The parts of dense factorizations that are no matrix product: vectors against matrices, small
// triangular blocks, panels of LU.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// All matrices row-major with unit column stride unless said otherwise; T is float or double.
template <typename T>
struct DenseKernels {
  // Each of `rows` rows r of A, `cols` long, becomes r − τ (r·v) v: a reflection applied to vectors
  // that are stored as rows.
  void (*reflect)(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, const T* v, T tau);
  // y = α·A·x + β·y; β = 0 does not read y.
  void (*matvec)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x,
                 T alpha, T beta, T* y);
  // y = α·Aᵀ·x + β·y.
  void (*matvec_transposed)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols,
                            const T* x, T alpha, T beta, T* y);
  // In-place LU of a panel with partial pivoting: P·A = L·U, L unit lower. pivots[j] is the row that
  // was exchanged with row j. `failed`: the first column without a pivot, or −1.
  void (*lu_panel)(T* a, int64_t stride, int64_t rows, int64_t cols, int64_t* pivots,
                   int64_t& failed);
  // In-place lower Cholesky factor of a block; what lies above its diagonal is left alone. `failed`:
  // the first row whose pivot is not positive, or −1.
  void (*cholesky_block)(T* a, int64_t stride, int64_t n, int64_t& failed);
  // X ← L⁻¹·X for a triangle L of at most kTriangle rows: `lower`, `unit` diagonal. L and X have any
  // strides.
  void (*solve_block)(Context&, const Matrix& l, bool lower, bool unit, const Matrix& x);
};
inline constexpr int64_t kTriangle = 32;

}  // namespace palimpsest
