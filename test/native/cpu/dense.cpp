#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"
#include "ops/factor.h"

using namespace palimpsest;

namespace {

template <typename T>
constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : 1e-13;

template <typename T>
void check_vectors(Context& c, int64_t rows, int64_t cols) {
  const int64_t stride = cols + 3;
  const auto a = seeded<T>(rows * stride, 1);
  const auto x = seeded<T>(cols, 2);
  const auto z = seeded<T>(rows, 3);
  auto y = seeded<T>(rows, 4);
  auto w = seeded<T>(cols, 5);
  auto reflected = a;
  const auto y0 = y, w0 = w;
  const auto& k = dense_kernels<T>(c);
  k.matvec(c, a.data(), stride, rows, cols, x.data(), T(0.5), T(2), y.data());
  k.matvec_transposed(c, a.data(), stride, rows, cols, z.data(), T(-1), T(1), w.data());
  k.reflect(c, reflected.data(), stride, rows, cols, x.data(), T(0.25));
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < cols; ++j) sum += double(a[size_t(i * stride + j)]) * double(x[size_t(j)]);
    CHECK_NEAR(y[size_t(i)], 0.5 * sum + 2 * double(y0[size_t(i)]), 4 * kTolerance<T>);
    for (int64_t j = 0; j < stride; ++j) {
      const double was = double(a[size_t(i * stride + j)]);
      const double change = j < cols ? 0.25 * sum * double(x[size_t(j)]) : 0;
      CHECK_NEAR(reflected[size_t(i * stride + j)], was - change, kTolerance<T>);
    }
  }
  for (int64_t j = 0; j < cols; ++j) {
    double sum = double(w0[size_t(j)]);
    for (int64_t i = 0; i < rows; ++i) sum -= double(a[size_t(i * stride + j)]) * double(z[size_t(i)]);
    CHECK_NEAR(w[size_t(j)], sum, kTolerance<T>);
  }
}

template <typename T>
void check_lu(Context& c, int64_t rows, int64_t cols) {
  const int64_t stride = cols + 1;
  const auto a = seeded<T>(rows * stride, 6);
  auto f = a;
  std::vector<int32_t> pivots(static_cast<size_t>(cols));
  int32_t failed = -1;
  dense_kernels<T>(c).lu_panel(c, f.data(), stride, rows, cols, 0, pivots.data(), &failed);
  CHECK(failed == -1);
  auto p = a;
  for (int64_t j = 0; j < cols && j < rows; ++j) {
    for (int64_t l = 0; l < cols; ++l) {
      std::swap(p[size_t(j * stride + l)], p[size_t(pivots[size_t(j)] * stride + l)]);
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      double sum = 0;
      for (int64_t l = 0; l <= std::min(i, j); ++l) {
        sum += (l == i ? 1 : double(f[size_t(i * stride + l)])) * double(f[size_t(l * stride + j)]);
      }
      CHECK_NEAR(p[size_t(i * stride + j)], sum, kTolerance<T>);
      if (j < i) CHECK(std::fabs(f[size_t(i * stride + j)]) <= T(1));
    }
  }
  std::vector<T> zero(static_cast<size_t>(rows * stride), T(0));
  dense_kernels<T>(c).lu_panel(c, zero.data(), stride, rows, cols, 5, pivots.data(), &failed);
  CHECK(failed == 5);
}

template <typename T>
void check_triangles(Context& c, int64_t n) {
  const int64_t stride = n + 2;
  auto l = seeded<T>(n * stride, 7);
  for (int64_t i = 0; i < n; ++i) l[size_t(i * stride + i)] += T(8);
  // Cholesky of l·lᵀ (lower part) gives l back.
  std::vector<T> g(static_cast<size_t>(n * stride), T(-3));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k <= j; ++k) sum += double(l[size_t(i * stride + k)]) * double(l[size_t(j * stride + k)]);
      g[size_t(i * stride + j)] = T(sum);
    }
  }
  int32_t failed = -1;
  dense_kernels<T>(c).cholesky_block(c, g.data(), stride, n, 0, &failed);
  CHECK(failed == -1);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      CHECK_NEAR(g[size_t(i * stride + j)], j <= i ? double(l[size_t(i * stride + j)]) : -3, 20 * kTolerance<T>);
    }
  }
  g[0] = T(-1);
  dense_kernels<T>(c).cholesky_block(c, g.data(), stride, n, 3, &failed);
  CHECK(failed == 3);

  const int64_t k = 70;
  for (bool transposed : {false, true}) {
    for (bool lower : {false, true}) {
      for (bool unit : {false, true}) {
        const auto x = seeded<T>(n * k, 8);
        Matrix triangle = {l.data(), dtype_of<T>, n, n, stride, 1, 0};
        if (transposed) triangle = triangle.transposed();
        std::vector<T> b(static_cast<size_t>(n * k));
        double scale = 0;
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t q = 0; q < k; ++q) {
            double sum = 0;
            for (int64_t j = lower ? 0 : i; j < (lower ? i + 1 : n); ++j) {
              const double factor = j == i && unit ? 1 : double(l[size_t(i * triangle.row_stride + j * triangle.col_stride)]) / (unit ? 40 : 1);
              sum += factor * double(x[size_t(j * k + q)]);
            }
            b[size_t(transposed ? q * n + i : i * k + q)] = T(sum);
            scale = std::max(scale, std::fabs(sum));
          }
        }
        auto scaled = l;
        if (unit) {
          for (T& value : scaled) value = value / T(40);
          triangle.data = scaled.data();
        }
        const Matrix right = transposed ? Matrix{b.data(), dtype_of<T>, n, k, 1, n, 0}
                                        : Matrix{b.data(), dtype_of<T>, n, k, k, 1, 0};
        dense_kernels<T>(c).solve_block(c, triangle, lower, unit, right);
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t q = 0; q < k; ++q) {
            CHECK_NEAR(b[size_t(transposed ? q * n + i : i * k + q)], x[size_t(i * k + q)], 10 * kTolerance<T>);
          }
        }
      }
    }
  }
}

// Reflectors of a panel: (I − VᵀTV)ᵀ brings the columns to R, and I − VᵀTV is orthogonal.
template <typename T>
void check_reflectors(Context& c, int64_t w, int64_t length) {
  const int64_t stride = length + 2;
  const auto a = seeded<T>(w * stride, 11);
  auto v = a;
  std::vector<T> r(size_t(w * (w + 1)), T(-7)), t(size_t(w * (w + 3)), T(-7));
  dense_kernels<T>(c).reflector_panel(c, v.data(), stride, w, length, r.data(), w + 1, t.data(), w + 3);
  const auto at = [&](int64_t i, int64_t k) { return double(v[size_t(i * stride + k)]); };
  const auto q = [&](int64_t i, int64_t k) {
    double sum = i == k;
    for (int64_t x = 0; x < w; ++x) {
      for (int64_t y = x; y < w; ++y) sum -= at(x, i) * double(t[size_t(x * (w + 3) + y)]) * at(y, k);
    }
    return sum;
  };
  for (int64_t j = 0; j < w; ++j) {
    for (int64_t i = 0; i < length; ++i) {
      double image = 0;
      for (int64_t k = 0; k <= j; ++k) image += q(i, k) * double(r[size_t(k * (w + 1) + j)]);
      CHECK_NEAR(image, a[size_t(j * stride + i)], 10 * kTolerance<T>);
    }
    for (int64_t i = j + 1; i < w; ++i) CHECK(r[size_t(i * (w + 1) + j)] == 0 && t[size_t(i * (w + 3) + j)] == 0);
    double unit = 0;
    for (int64_t i = 0; i < length; ++i) unit += q(i, j) * q(i, j);
    CHECK_NEAR(unit, 1, 10 * kTolerance<T>);
  }
}

template <typename T>
void check_rotations(Context& c, int64_t rows, int64_t length) {
  const auto a = seeded<T>(rows * length, 12);
  auto x = a;
  std::vector<T> v(size_t(rows * rows), T(0));
  for (int64_t i = 0; i < rows; ++i) v[size_t(i * (rows + 1))] = 1;
  CHECK(dense_kernels<T>(c).jacobi(c, {x.data(), length, rows, length, v.data(), rows, rows}).ok());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < length; ++k) sum += double(x[size_t(i * length + k)]) * double(x[size_t(j * length + k)]);
      CHECK_NEAR(sum, 0, 20 * kTolerance<T>);
    }
    for (int64_t k = 0; k < length; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < rows; ++j) sum += double(v[size_t(i * rows + j)]) * double(a[size_t(j * length + k)]);
      CHECK_NEAR(x[size_t(i * length + k)], sum, 20 * kTolerance<T>);
    }
  }
}

template <typename T>
void check_gram_factor(Context& c, int64_t n) {
  const auto a = seeded<double>((n + 3) * n, 13);
  std::vector<double> g(size_t(n * n), NAN), upper(size_t(n * n), NAN);
  std::vector<T> inverse(size_t(n * n), T(-7));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = i == j ? 0.5 : 0;
      for (int64_t k = 0; k < n + 3; ++k) sum += a[size_t(k * n + i)] * a[size_t(k * n + j)];
      g[size_t(i * n + j)] = sum;
    }
  }
  int32_t failed = 0;
  dense_kernels<T>(c).gram_factor(c, g.data(), n, 1e-11, upper.data(), inverse.data(), &failed);
  CHECK(failed == 0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double square = 0, product = 0;
      for (int64_t k = 0; k < n; ++k) {
        square += upper[size_t(k * n + i)] * upper[size_t(k * n + j)];
        product += upper[size_t(i * n + k)] * double(inverse[size_t(k * n + j)]);
      }
      CHECK_NEAR(square, g[size_t(std::max(i, j) * n + std::min(i, j))], 1e-11);
      CHECK_NEAR(product, i == j, 50 * kTolerance<T>);
    }
  }
  // The last two columns are the same.
  if (n < 2) return;
  for (int64_t j = 0; j < n - 1; ++j) g[size_t((n - 1) * n + j)] = g[size_t((n - 2) * n + j)];
  g[size_t(n * n - 1)] = g[size_t((n - 1) * n + n - 2)] = g[size_t((n - 2) * (n + 1))];
  dense_kernels<T>(c).gram_factor(c, g.data(), n, 1e-11, upper.data(), inverse.data(), &failed);
  CHECK(failed == 1);
  for (int64_t i = 0; i < n * n; ++i) CHECK(upper[size_t(i)] == (i % (n + 1) == 0) && inverse[size_t(i)] == T(i % (n + 1) == 0));
}

}  // namespace

TEST("dense: reflectors, rotations, factors of Gram matrices") {
  at_every_level([](Context& c) {
    for (int64_t n : {1, 2, 13, 32}) {
      check_reflectors<float>(c, n, n + 9);
      check_reflectors<double>(c, n, n);
      check_rotations<float>(c, n, 20);
      check_rotations<double>(c, n, n + 1);
      check_gram_factor<float>(c, n);
      check_gram_factor<double>(c, n);
    }
  });
}

TEST("dense: matvec, its transpose and reflections") {
  at_every_level([](Context& c) {
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {4, 33}, {9, 5}, {21, 130}, {70, 300}, {0, 5}}) {
      check_vectors<float>(c, rows, cols);
      check_vectors<double>(c, rows, cols);
    }
  });
}

TEST("dense: LU panels") {
  at_every_level([](Context& c) {
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {5, 5}, {40, 32}, {33, 7}}) {
      check_lu<float>(c, rows, cols);
      check_lu<double>(c, rows, cols);
    }
  });
}

TEST("dense: Cholesky blocks and small triangles") {
  at_every_level([](Context& c) {
    for (int64_t n : {1, 2, 13, 32}) {
      check_triangles<float>(c, n);
      check_triangles<double>(c, n);
    }
  });
}

TEST("dense: the same bits for any number of threads") {
  const auto a = seeded<float>(700 * 900, 1);
  const auto x = seeded<float>(900, 2);
  CHECK(same_for_any_threads([&](Context& c) {
    std::vector<float> y(700), w(900);
    auto r = a;
    c.kernels.dense32.matvec(c, a.data(), 900, 700, 900, x.data(), 1, 0, y.data());
    c.kernels.dense32.matvec_transposed(c, a.data(), 900, 700, 900, x.data(), 1, 0, w.data());
    c.kernels.dense32.reflect(c, r.data(), 900, 700, 900, x.data(), 0.1f);
    y.insert(y.end(), w.begin(), w.end());
    y.insert(y.end(), r.begin(), r.end());
    return y;
  }));
}
