// The parts of dense factorizations that are no matrix product: vectors against matrices, small
// triangular blocks, panels of LU.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

enum class Triangle : uint8_t {
  lower, upper,  // the other side becomes zero
  mirror_lower,  // the lower side is copied to the upper (square matrices)
};

// Rows of `a` are rotated in pairs, and rows of v with them unless that is null, until |aᵢ·aⱼ| is at most
// δ‖aᵢ‖‖aⱼ‖ with δ = ε√length, or one norm δ/1000 times the other. Norms then are the singular values, in
// no order (one-sided Jacobi, Hestenes 1958; pairs in the order of a round-robin, Brent & Luk 1985).
template <typename T>
struct JacobiArgs {
  T* a;
  int64_t a_stride, rows, length;
  T* v;
  int64_t v_stride, v_length;
};

// All matrices row-major with unit column stride unless said otherwise; T is float or double. All
// pointers are the device's.
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
  // In-place LU of a panel of at most kTriangle columns with partial pivoting: P·A = L·U, L unit
  // lower. pivots[j] ← place + the row that was exchanged with row j. Where *failed is negative it
  // becomes place + the first column without a pivot, if there is one.
  void (*lu_panel)(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, int64_t place,
                   int32_t* pivots, int32_t* failed);
  // Rows first + j and pivots[j] of a matrix of `cols` columns change places, for j in [0, count) in
  // order.
  void (*exchange_rows)(Context&, T* a, int64_t stride, int64_t cols, int64_t first, int64_t count,
                        const int32_t* pivots);
  // In-place lower Cholesky factor of a block of at most kTriangle rows; what lies above its diagonal
  // is left alone. Where *failed is negative it becomes place + the first row whose pivot is not
  // positive, if there is one; the block then has no meaning.
  void (*cholesky_block)(Context&, T* a, int64_t stride, int64_t n, int64_t place, int32_t* failed);
  // X ← L⁻¹·X for a triangle L of at most kTriangle rows: `lower`, `unit` diagonal. L and X have any
  // strides.
  void (*solve_block)(Context&, const Matrix& l, bool lower, bool unit, const Matrix& x);
  void (*keep_triangle)(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, Triangle which);
  // Reflectors of a panel given by its `w` columns (at most kTriangle) as rows of `a`, `length` ≥ w
  // long: row j becomes v_j, which is zero before and 1 at position j, r (w×w) the upper triangle with
  // zeros below, t (w×w) that of I − Vᵀ·T·V = H₀H₁… (ops/householder.h).
  void (*reflector_panel)(Context&, T* a, int64_t stride, int64_t w, int64_t length, T* r,
                          int64_t r_stride, T* t, int64_t t_stride);
  // Code::numerical where 60 sweeps do not suffice.
  Status (*jacobi)(Context&, const JacobiArgs<T>&);
  // Of a Gram matrix G (width×width ≤ kPanelWidth, its lower triangle): upper with G = upperᵀ·upper,
  // zeros below, and its inverse. Where a pivot, after G's diagonal was scaled to 1, is not above
  // `least`: *failed ← 1, and both become the identity.
  void (*gram_factor)(Context&, const double* g, int64_t width, double least, double* upper,
                      T* inverse, int32_t* failed);
};
inline constexpr int64_t kTriangle = 32;

}  // namespace palimpsest
