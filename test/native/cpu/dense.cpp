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
  std::vector<int64_t> pivots(static_cast<size_t>(cols));
  int64_t failed = 0;
  dense_kernels<T>(c).lu_panel(f.data(), stride, rows, cols, pivots.data(), failed);
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
  dense_kernels<T>(c).lu_panel(zero.data(), stride, rows, cols, pivots.data(), failed);
  CHECK(failed == 0);
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
  int64_t failed = 0;
  dense_kernels<T>(c).cholesky_block(g.data(), stride, n, failed);
  CHECK(failed == -1);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      CHECK_NEAR(g[size_t(i * stride + j)], j <= i ? double(l[size_t(i * stride + j)]) : -3, 20 * kTolerance<T>);
    }
  }
  g[0] = T(-1);
  dense_kernels<T>(c).cholesky_block(g.data(), stride, n, failed);
  CHECK(failed == 0);

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

}  // namespace

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
