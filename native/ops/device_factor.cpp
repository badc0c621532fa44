// The CPU's ways through these decompositions (blocks of recursive panels, bidiagonal forms, divide and
// conquer) are chains of small steps that want numbers at hand; on a device every look costs more than
// the work. Here QR takes panels of 32 reflectors, each made by one kernel, and does the rest in matrix
// products; the SVD is that and one-sided Jacobi on the triangle (as in Drmač & Veselić 2008, without
// pivoting), which is accurate and made of independent pairs. A symmetric matrix becomes definite by a
// shift, and Jacobi gives its eigenvectors; eigenvalues are Rayleigh quotients with the matrix itself.
// Floor: 2mn² − 2n³/3 FLOPs for R and as many for Q; about 8 sweeps of 6n²·n FLOPs for Jacobi.

#include "ops/device_factor.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/factor.h"
#include "ops/householder.h"

namespace palimpsest {
namespace {

constexpr int64_t kPanel = kTriangle;

Status number(Context& context, Binary op, const View& out, const View& in, double x) {
  return context.kernels.elementwise.binary(context, {op, out, in, {}, x});
}

Status fill(Context& context, const Matrix& m, double x) {
  return context.kernels.elementwise.binary(context, {Binary::maximum, view_of(m), {}, {}, x});
}

Matrix diagonal_of(const Matrix& m) {
  Matrix d = m;
  d.rows = std::min(m.rows, m.cols);
  d.cols = 1;
  d.row_stride = m.row_stride + m.col_stride;
  return d;
}

// x of rows × 1 as a factor of every column of a matrix with `cols` of them.
View over_columns(const Matrix& x, int64_t cols) {
  View view = view_of(x);
  view.shape[1] = cols;
  view.strides[1] = 0;
  return view;
}

Status multiply_rows(Context& context, const Matrix& m, const Matrix& factors) {
  return context.kernels.elementwise.binary(
      context, {Binary::mul, view_of(m), view_of(m), over_columns(factors, m.cols)});
}

// out = 1 where x is not negative, else −1.
Status signs_of(Context& context, const Matrix& x, const Matrix& out) {
  PALIMPSEST_TRY(number(context, Binary::lt, view_of(out), view_of(x), 0));
  PALIMPSEST_TRY(number(context, Binary::mul, view_of(out), view_of(out), -2));
  return number(context, Binary::add, view_of(out), view_of(out), 1);
}

template <typename T>
Matrix take(Context& context, int64_t rows, int64_t cols) {
  return row_major(context.workspace.take<T>(rows * cols), rows, cols);
}

// The sum over each row, rows × 1.
Status row_sums(Context& context, Reduction op, const Matrix& m, const Matrix& out) {
  return context.kernels.reduce.reduce(context, {op, view_of(out), view_of(m), 0b10});
}

template <typename T>
Status largest(Context& context, const Matrix& m, double& result) {
  const Workspace::Scope scope(context.workspace);
  T* const ends = context.workspace.take<T>(2);
  for (int i = 0; i < 2; ++i) {
    PALIMPSEST_TRY(context.kernels.reduce.reduce(
        context, {i == 0 ? Reduction::max : Reduction::min, contiguous_view(ends + i, {1, 1}), view_of(m), 0b11}));
  }
  T values[2];
  PALIMPSEST_TRY(context.read_bytes(values, ends, sizeof(values)));
  result = std::isnan(values[0]) ? std::nan("") : std::max<double>(values[0], -values[1]);
  return {};
}

// Brings the largest entry near 1 by 2^exponent where squares would leave T's range; in two steps, each
// of them a number that T has.
template <typename T>
Status bring_near_one_there(Context& context, const Matrix& m, int& exponent) {
  double size = 0;
  PALIMPSEST_TRY(largest<T>(context, m, size));
  const double limit = sizeof(T) == 4 ? 1e9 : 1e120;
  exponent = size == 0 || (size < limit && size > 1 / limit) ? 0 : -std::ilogb(size);
  for (const int part : {exponent / 2, exponent - exponent / 2}) {
    if (part != 0) PALIMPSEST_TRY(number(context, Binary::mul, view_of(m), view_of(m), std::ldexp(1.0, part)));
  }
  return {};
}

// The matrix whose columns are the n rows of `columns`, m long (destroyed): r (k×n), and q's columns as
// the k rows of `basis`.
template <typename T>
Status factor_columns(Context& context, const Matrix& columns, const Matrix& r, const Matrix& basis) {
  const Workspace::Scope scope(context.workspace);
  const int64_t n = columns.rows;
  const int64_t m = columns.cols;
  const int64_t k = std::min(m, n);
  T* const a = static_cast<T*>(columns.data);
  T* const upper = static_cast<T*>(r.data);
  T* const triangles = context.workspace.take<T>((k + kPanel) * kReflectorBlock);
  PALIMPSEST_TRY(fill(context, r, 0));
  for (int64_t first = 0; first < k; first += kPanel) {
    PALIMPSEST_TRY(check_abort(context));
    const int64_t w = std::min(kPanel, k - first);
    T* const t = triangles + first * kReflectorBlock;
    dense_kernels<T>(context).reflector_panel(context, a + first * m + first, m, w, m - first,
                                              upper + first * n + first, n, t, kReflectorBlock);
    const int64_t rest = n - first - w;
    PALIMPSEST_TRY(apply_block(context, a + first * m + first, m, w, m - first, t, false,
                               a + (first + w) * m + first, m, rest));
    if (rest == 0) continue;
    PALIMPSEST_TRY(copy(context, part(columns, first + w, rest, first, w).transposed(), part(r, first, w, first + w, rest)));
  }
  // Rows of R whose diagonal is negative are turned, and the columns of Q with them.
  const Matrix signs = take<T>(context, k, 1);
  PALIMPSEST_TRY(signs_of(context, diagonal_of(r), signs));
  PALIMPSEST_TRY(multiply_rows(context, r, signs));
  PALIMPSEST_TRY(fill(context, basis, 0));
  PALIMPSEST_TRY(copy(context, signs, diagonal_of(basis)));
  for (int64_t first = (k - 1) / kPanel * kPanel; first >= 0; first -= kPanel) {
    PALIMPSEST_TRY(check_abort(context));
    PALIMPSEST_TRY(apply_block(context, a + first * m + first, m, std::min(kPanel, k - first), m - first,
                               triangles + first * kReflectorBlock, true,
                               static_cast<T*>(basis.data) + first * m + first, m, k - first));
  }
  return {};
}

// Rows of m in the order of `indices`.
template <typename T>
Status pick_rows(Context& context, const Matrix& m, const int32_t* indices, const Matrix& out) {
  return context.kernels.embedding.gather(
      context, {dtype_of<T>, m.rows, m.cols, m.rows, m.data, indices, out.data});
}

// Rows divided by their norms (rows × 1), zeros where that is no more than `least` times the first.
template <typename T>
Status normalise_rows(Context& context, const Matrix& m, const Matrix& norms, double least) {
  const Workspace::Scope scope(context.workspace);
  const Matrix factors = take<T>(context, m.rows, 1);
  const Matrix kept = row_major(context.workspace.take<uint8_t>(m.rows), m.rows, 1);
  View first = view_of(norms);
  first.strides[0] = 0;
  PALIMPSEST_TRY(number(context, Binary::mul, view_of(factors), first, least));
  PALIMPSEST_TRY(context.kernels.elementwise.binary(context, {Binary::gt, view_of(kept), view_of(norms), view_of(factors)}));
  PALIMPSEST_TRY(context.kernels.elementwise.unary(context, {Unary::reciprocal, view_of(factors), view_of(norms)}));
  PALIMPSEST_TRY(context.kernels.elementwise.where(context, {view_of(factors), view_of(kept), view_of(factors), {}, 0, 0}));
  return multiply_rows(context, m, factors);
}

// The sign that makes the entry of largest magnitude of each row positive (of a pair of equals either).
template <typename T>
Status row_signs(Context& context, const Matrix& m, const Matrix& signs) {
  const Workspace::Scope scope(context.workspace);
  const Matrix least = take<T>(context, m.rows, 1);
  PALIMPSEST_TRY(row_sums(context, Reduction::max, m, signs));
  PALIMPSEST_TRY(row_sums(context, Reduction::min, m, least));
  PALIMPSEST_TRY(context.kernels.elementwise.binary(context, {Binary::add, view_of(signs), view_of(signs), view_of(least)}));
  return signs_of(context, signs, signs);
}

template <typename T>
Status norms_of(Context& context, const Matrix& rows, const Matrix& norms) {
  PALIMPSEST_TRY(row_sums(context, Reduction::sum_of_squares, rows, norms));
  return context.kernels.elementwise.unary(context, {Unary::sqrt, view_of(norms), view_of(norms)});
}

template <typename T>
Status sort(Context& context, const Matrix& values, bool descending, const Matrix& sorted, int32_t* order) {
  return context.kernels.selection.sort_rows(
      context, {dtype_of<T>, 1, values.rows, values.rows, descending, values.data, sorted.data, order});
}

template <typename T>
JacobiArgs<T> rotations(const Matrix& a, const Matrix* v) {
  return {static_cast<T*>(a.data), a.row_stride, a.rows, a.cols, v == nullptr ? nullptr : static_cast<T*>(v->data),
          v == nullptr ? 0 : v->row_stride, v == nullptr ? 0 : v->cols};
}

}  // namespace

template <typename T>
Status qr_on_device(Context& context, const Matrix& a, const Matrix& q, const Matrix& r) {
  const Workspace::Scope scope(context.workspace);
  const int64_t k = std::min(a.rows, a.cols);
  const Matrix columns = take<T>(context, a.cols, a.rows);
  const Matrix upper = take<T>(context, k, a.cols);
  const Matrix basis = take<T>(context, k, a.rows);
  PALIMPSEST_TRY(copy(context, a.transposed(), columns));
  PALIMPSEST_TRY(factor_columns<T>(context, columns, upper, basis));
  PALIMPSEST_TRY(copy(context, basis.transposed(), q));
  return copy(context, upper, r);
}

template <typename T>
Status eigh_on_device(Context& context, const Matrix& a, void* values, const Matrix& v) {
  const Workspace::Scope scope(context.workspace);
  const int64_t n = a.rows;
  const Matrix work = take<T>(context, n, n);
  PALIMPSEST_TRY(copy(context, a, work));
  dense_kernels<T>(context).keep_triangle(context, static_cast<T*>(work.data), n, n, n, Triangle::mirror_lower);
  PALIMPSEST_TRY(check_finite(context, work, "eigh"));
  int exponent = 0;
  PALIMPSEST_TRY(bring_near_one_there<T>(context, work, exponent));
  const Matrix norms = take<T>(context, n, 1);
  const Matrix order_values = take<T>(context, n, 1);
  auto* const order = context.workspace.take<int32_t>(n);
  // ‖A‖₂ is at most the largest row sum of magnitudes, and at most Frobenius' norm.
  double by_rows = 0;
  PALIMPSEST_TRY(row_sums(context, Reduction::sum_of_magnitudes, work, norms));
  PALIMPSEST_TRY(largest<T>(context, norms, by_rows));
  double by_squares = 0;
  PALIMPSEST_TRY(norms_of<T>(context, work, norms));
  PALIMPSEST_TRY(norms_of<T>(context, norms.transposed(), part(order_values, 0, 1, 0, 1)));
  PALIMPSEST_TRY(largest<T>(context, part(order_values, 0, 1, 0, 1), by_squares));
  const double bound = std::min(by_rows, by_squares);
  const Matrix rows = take<T>(context, n, n);
  PALIMPSEST_TRY(copy(context, work, rows));
  PALIMPSEST_TRY(number(context, Binary::add, view_of(diagonal_of(rows)), view_of(diagonal_of(rows)),
                        bound > 0 ? 1.5 * bound : 1));
  PALIMPSEST_TRY(dense_kernels<T>(context).jacobi(context, rotations<T>(rows, nullptr)));
  PALIMPSEST_TRY(norms_of<T>(context, rows, norms));
  PALIMPSEST_TRY(normalise_rows<T>(context, rows, norms, 0));
  // λ = u·Au, and the order that they give.
  const Matrix images = take<T>(context, n, n);
  PALIMPSEST_TRY(product(context, rows, work, images));
  PALIMPSEST_TRY(context.kernels.elementwise.binary(context, {Binary::mul, view_of(images), view_of(images), view_of(rows)}));
  PALIMPSEST_TRY(row_sums(context, Reduction::sum, images, norms));
  const Matrix sorted = row_major(static_cast<T*>(values), n, 1);
  PALIMPSEST_TRY(sort<T>(context, norms, false, sorted, order));
  for (const int power : {-exponent / 2, -exponent + exponent / 2}) {
    if (power != 0) PALIMPSEST_TRY(number(context, Binary::mul, view_of(sorted), view_of(sorted), std::ldexp(1.0, power)));
  }
  if (v.data == nullptr) return {};
  PALIMPSEST_TRY(pick_rows<T>(context, rows, order, images));
  PALIMPSEST_TRY(row_signs<T>(context, images, norms));
  PALIMPSEST_TRY(multiply_rows(context, images, norms));
  return copy(context, images.transposed(), v);
}

template <typename T>
Status svd_on_device(Context& context, const Matrix& a, const Matrix& u, void* values, const Matrix& vt) {
  const Workspace::Scope scope(context.workspace);
  const bool wide = a.rows < a.cols;
  const bool vectors = u.data != nullptr;
  const int64_t m = std::max(a.rows, a.cols);
  const int64_t n = std::min(a.rows, a.cols);
  const Matrix columns = take<T>(context, n, m);
  const Matrix basis = take<T>(context, n, m);
  const Matrix r = take<T>(context, n, n);
  PALIMPSEST_TRY(copy(context, wide ? a : a.transposed(), columns));
  int exponent = 0;
  PALIMPSEST_TRY(bring_near_one_there<T>(context, columns, exponent));
  PALIMPSEST_TRY(factor_columns<T>(context, columns, r, basis));
  // J·R = diag(s)·Vᵀ: J's rows are the left vectors of R.
  const Matrix turns = take<T>(context, n, n);
  PALIMPSEST_TRY(fill(context, turns, 0));
  PALIMPSEST_TRY(fill(context, diagonal_of(turns), 1));
  PALIMPSEST_TRY(dense_kernels<T>(context).jacobi(context, rotations<T>(r, vectors ? &turns : nullptr)));
  const Matrix norms = take<T>(context, n, 1);
  const Matrix own = take<T>(context, n, 1);
  auto* const order = context.workspace.take<int32_t>(n);
  PALIMPSEST_TRY(norms_of<T>(context, r, norms));
  PALIMPSEST_TRY(sort<T>(context, norms, true, own, order));
  const Matrix sorted = row_major(static_cast<T*>(values), n, 1);
  PALIMPSEST_TRY(copy(context, own, sorted));
  for (const int power : {-exponent / 2, -exponent + exponent / 2}) {
    if (power != 0) PALIMPSEST_TRY(number(context, Binary::mul, view_of(sorted), view_of(sorted), std::ldexp(1.0, power)));
  }
  if (!vectors) return {};
  // The right vectors; those of singular values that are zero are found by QR, which leaves what is
  // orthonormal already.
  const Matrix right = take<T>(context, n, n);
  const Matrix left = take<T>(context, n, n);
  PALIMPSEST_TRY(pick_rows<T>(context, r, order, right));
  PALIMPSEST_TRY(pick_rows<T>(context, turns, order, left));
  PALIMPSEST_TRY(normalise_rows<T>(context, right, own, sizeof(T) == 4 ? 1e-12 : 1e-150));
  PALIMPSEST_TRY(factor_columns<T>(context, right, turns, r));
  PALIMPSEST_TRY(product(context, left, basis, columns));
  PALIMPSEST_TRY(row_signs<T>(context, wide ? r : columns, norms));
  PALIMPSEST_TRY(multiply_rows(context, r, norms));
  PALIMPSEST_TRY(multiply_rows(context, columns, norms));
  PALIMPSEST_TRY(copy(context, (wide ? r : columns).transposed(), u));
  return copy(context, wide ? columns : r, vt);
}

#define PALIMPSEST_INSTANTIATE(T)                                                                \
  template Status qr_on_device<T>(Context&, const Matrix&, const Matrix&, const Matrix&);         \
  template Status eigh_on_device<T>(Context&, const Matrix&, void*, const Matrix&);               \
  template Status svd_on_device<T>(Context&, const Matrix&, const Matrix&, void*, const Matrix&);
PALIMPSEST_INSTANTIATE(float)
PALIMPSEST_INSTANTIATE(double)

}  // namespace palimpsest
