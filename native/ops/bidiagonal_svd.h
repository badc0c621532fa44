// The singular value decomposition of a bidiagonal matrix by divide and conquer.
#pragma once

#include <cstdint>

#include "ops/factor.h"

namespace palimpsest {

// B (n×n) has the diagonal d and the superdiagonal e (n − 1 values). B = Uᵀ·diag(d)·V with d
// descending on return; rows of u and v (n×n, row-major) are the singular vectors. u may be null
// while v is not; both null: values alone, in O(n²).
template <typename T>
Status bidiagonal_svd(Context& context, int64_t n, double* d, const double* e, T* u, T* v);

}  // namespace palimpsest
