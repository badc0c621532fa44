// Dense factorizations and what is solved with them, float32 or float64, computed in their own
// precision. Inputs have any strides and are left alone; outputs of one call must not overlap its
// inputs. NaN or Inf in an input gives Code::numerical. An error or abort leaves outputs undefined.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// A = Q·R with k = min(m, n): q is m×k with orthonormal columns, r is k×n, upper, with a
// non-negative diagonal. Householder reflections, in blocks with their compact WY form (Schreiber &
// Van Loan 1989), panels by recursion (Elmroth & Gustavson 2000).
Status qr(Context& context, const Matrix& a, const Matrix& q, const Matrix& r);

// A = L·Lᵀ for a symmetric positive definite A, of which the lower triangle is read; l is lower with
// zeros above. Code::numerical where a pivot is not positive.
Status cholesky(Context& context, const Matrix& a, const Matrix& l);

// x = A⁻¹·b by LU with partial pivoting; a n×n, b and x n×k. Code::numerical where A is singular.
Status solve(Context& context, const Matrix& a, const Matrix& b, const Matrix& x);

// x = T⁻¹·b for a triangle T of which only that side is read.
Status solve_triangular(Context& context, const Matrix& t, bool lower, bool unit, const Matrix& b,
                        const Matrix& x);

// A = V·diag(w)·Vᵀ for a symmetric A, of which the lower triangle is read: w ascending (n values,
// contiguous), eigenvectors the columns of v, or none where v.data is null. The entry of largest
// magnitude of each vector is positive.
Status eigh(Context& context, const Matrix& a, void* w, const Matrix& v);

// A = U·diag(s)·Vᵀ with k = min(m, n): u m×k, s k values descending, vt k×n; only s where u.data is
// null. The entry of largest magnitude of each column of u is positive (the first of equals).
Status svd(Context& context, const Matrix& a, const Matrix& u, void* s, const Matrix& vt);

}  // namespace palimpsest
