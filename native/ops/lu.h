// LU with partial pivoting in place, by recursion on columns (Toledo 1997): left half, rows exchanged,
// U₁₂ = L₁₁⁻¹A₁₂, A₂₂ − L₂₁U₁₂, right half. Floor: 2n³/3 FLOPs of a square, n²(m − n/3) of a tall one.
#pragma once

#include "ops/triangular.h"

namespace palimpsest {

// Of a row-major matrix with rows ≥ cols: P·A = L·U in its place, L unit lower.
template <typename T>
class Lu {
 public:
  Lu(Context& context, T* a, int64_t rows, int64_t cols)
      : context_(context), k_(dense_kernels<T>(context)), a_(a), rows_(rows), cols_(cols),
        pivots_(context.workspace.take<int32_t>(cols)), failed_(context.workspace.take<int32_t>(1)) {}

  // `singular`: the first column without a pivot, or −1. L is there all the same, that column of it a unit
  // vector.
  Status factor(int32_t& singular) {
    singular = -1;
    PALIMPSEST_TRY(context_.write_bytes(failed_, &singular, sizeof(singular)));
    PALIMPSEST_TRY(factor(0, cols_));
    return context_.read(singular, failed_);
  }

  // x ← P·x, of `cols` columns.
  void exchange(T* x, int64_t cols) { k_.exchange_rows(context_, x, cols, cols, 0, cols_, pivots_); }

  // The matrix becomes Pᵀ·L: a basis of its range whose entries are at most 1.
  Status keep_lower() {
    k_.keep_triangle(context_, a_, cols_, cols_, cols_, Triangle::lower);
    View diagonal = contiguous_view(a_, {cols_});
    diagonal.strides[0] = cols_ + 1;
    PALIMPSEST_TRY(context_.kernels.elementwise.binary(context_, {Binary::mul, diagonal, diagonal, {}, 0}));
    PALIMPSEST_TRY(context_.kernels.elementwise.binary(context_, {Binary::add, diagonal, diagonal, {}, 1}));
    for (int64_t i = cols_ - 1; i >= 0; --i) {
      k_.exchange_rows(context_, a_, cols_, cols_, i, 1, pivots_ + i);
    }
    return {};
  }

 private:
  // Columns [first, first + width), rows from `first` on.
  Status factor(int64_t first, int64_t width) {
    if (width <= kTriangle) {
      k_.lu_panel(context_, a_ + first * cols_ + first, cols_, rows_ - first, width, first, pivots_ + first,
                  failed_);
      return {};
    }
    PALIMPSEST_TRY(check_abort(context_));
    const int64_t left = (width / 2 + kTriangle - 1) / kTriangle * kTriangle;
    const int64_t middle = first + left;
    const int64_t right = width - left;
    PALIMPSEST_TRY(factor(first, left));
    k_.exchange_rows(context_, a_ + middle, cols_, right, first, left, pivots_ + first);
    const Matrix u12 = block(first, left, middle, right);
    PALIMPSEST_TRY(solve_in_place(context_, block(first, left, first, left), true, true, u12));
    PALIMPSEST_TRY(product(context_, block(middle, rows_ - middle, first, left), u12,
                           block(middle, rows_ - middle, middle, right), -1, 1));
    PALIMPSEST_TRY(factor(middle, right));
    k_.exchange_rows(context_, a_ + first, cols_, left, middle, right, pivots_ + middle);
    return {};
  }

  Matrix block(int64_t row, int64_t rows, int64_t col, int64_t cols) {
    return strided(a_ + row * cols_ + col, rows, cols, cols_);
  }

  Context& context_;
  const DenseKernels<T>& k_;
  T* a_;
  int64_t rows_, cols_;
  int32_t* pivots_;
  int32_t* failed_;
};

}  // namespace palimpsest
