// Householder reflections I − τ v vᵀ in blocks: H₀H₁…H_{w−1} = I − Vᵀ·T·V with the vectors as rows of
// V and an upper triangle T (the compact WY form, Schreiber & Van Loan 1989). Everything here stores
// vectors as rows, so that a "matrix whose columns are transformed" is given by its rows as well.
#pragma once

#include <cstdint>

#include "ops/factor.h"

namespace palimpsest {

inline constexpr int64_t kReflectorBlock = 64;

// Makes x (n values) a reflector: v with v₀ = 1 in place of x, so that (I − τ v vᵀ) x = (β, 0, …).
template <typename T>
void make_reflector(T* x, int64_t n, T& tau, T& beta);

// T (w×w, row stride kReflectorBlock) of w reflectors given by rows of `v`, `length` long.
template <typename T>
Status form_triangle(Context& context, const T* v, int64_t stride, int64_t w, int64_t length,
                     const T* tau, T* t);

// Rows of c ← rows · (I − Vᵀ T V) or, with `transposed`, rows · (I − Vᵀ Tᵀ V). For a matrix C whose
// columns are the rows given this is HᵀC and H·C.
template <typename T>
Status apply_block(Context& context, const T* v, int64_t stride, int64_t w, int64_t length,
                   const T* t, bool transposed, T* c, int64_t c_stride, int64_t c_rows);

// QR of the matrix whose columns are the `n` rows of `a`, `m` long: rows j of a become reflectors
// (v_j from position j on, zeros before), r (n×n, upper, row stride n) gets R's columns < min(m, n);
// `t` has room for ceil(k / kReflectorBlock) triangles. Rows beyond min(m, n) become Qᵀ·row.
template <typename T>
Status factor_rows(Context& context, T* a, int64_t stride, int64_t n, int64_t m, T* r, T* t);

// Rows of c (c_rows of length m) ← columns of H₀H₁…·C, or of its transpose, for `k` reflectors.
template <typename T>
Status apply_reflectors(Context& context, const T* v, int64_t stride, int64_t k, int64_t m,
                        const T* t, bool transposed, T* c, int64_t c_stride, int64_t c_rows);

}  // namespace palimpsest
