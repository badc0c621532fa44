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
void check_panel(Context& c, int64_t rows, int64_t cols, int64_t width) {
  const double tolerance = sizeof(T) == 4 ? 3e-5 : 1e-12;
  const int64_t stride = cols + 5;
  const auto a = seeded<T>(rows * stride, 1);
  const auto p = seeded<T>(cols * width, 2);
  const auto q = seeded<T>(rows * width, 3);
  std::vector<T> y(static_cast<size_t>(rows * width), T(9)), z(static_cast<size_t>(cols * width), T(9));
  const auto& k = panel_kernels<T>(c);
  std::vector<T> rough_y = y, rough_z = z;
  if (k.rough_multiply != nullptr) {
    k.rough_multiply(c, a.data(), stride, rows, cols, p.data(), width, rough_y.data());
    k.rough_multiply_transposed(c, a.data(), stride, rows, cols, q.data(), width, rough_z.data());
  }
  // Of products below 1, each wrong by 2⁻¹⁵ at most.
  const double rough = k.rough_multiply != nullptr ? std::sqrt(double(std::max(rows, cols))) * 1e-4 : 1e30;
  k.multiply(c, a.data(), stride, rows, cols, p.data(), width, y.data());
  k.multiply_transposed(c, a.data(), stride, rows, cols, q.data(), width, z.data());
  std::vector<double> expected(static_cast<size_t>(std::max(rows, cols) * width), 0);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t l = 0; l < cols; ++l) {
      for (int64_t j = 0; j < width; ++j) {
        expected[size_t(i * width + j)] += double(a[size_t(i * stride + l)]) * double(p[size_t(l * width + j)]);
      }
    }
  }
  for (int64_t i = 0; i < rows * width; ++i) {
    CHECK_NEAR(y[size_t(i)], expected[size_t(i)], tolerance);
    CHECK_NEAR(rough_y[size_t(i)], expected[size_t(i)], rough);
  }
  std::fill(expected.begin(), expected.end(), 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t l = 0; l < cols; ++l) {
      for (int64_t j = 0; j < width; ++j) {
        expected[size_t(l * width + j)] += double(a[size_t(i * stride + l)]) * double(q[size_t(i * width + j)]);
      }
    }
  }
  for (int64_t i = 0; i < cols * width; ++i) {
    CHECK_NEAR(z[size_t(i)], expected[size_t(i)], tolerance);
    CHECK_NEAR(rough_z[size_t(i)], expected[size_t(i)], rough);
  }

  std::vector<double> g(static_cast<size_t>(width * width));
  k.gram(c, q.data(), rows, width, g.data());
  const auto w = seeded<T>(width * width, 4);
  auto turned = q;
  k.transform(c, turned.data(), rows, width, w.data());
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) sum += double(q[size_t(r * width + i)]) * double(q[size_t(r * width + j)]);
      CHECK_NEAR(g[size_t(i * width + j)], sum, 1e-11);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < width; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += double(q[size_t(r * width + i)]) * double(w[size_t(i * width + j)]);
      CHECK_NEAR(turned[size_t(r * width + j)], sum, tolerance);
    }
  }
}

}  // namespace

TEST("panel: products, Gram matrix and transform against double loops") {
  at_every_level([](Context& c) {
    for (int64_t width : {16, 32, 48, 80, 96}) {
      check_panel<float>(c, 27, 41, width);
      check_panel<double>(c, 27, 41, width);
    }
    check_panel<float>(c, 70, 300, 32);
    check_panel<double>(c, 3, 270, 16);
    // Strips and units of tiles that are whole, and that are not.
    for (int64_t width : {16, 32, 48, 64, 80, 96}) check_panel<float>(c, 64, 96, width);
    check_panel<float>(c, 167, 75, 32);
    check_panel<float>(c, 71, 200, 80);
    check_panel<float>(c, 1, 1, 16);
    check_panel<float>(c, 5, 0, 16);
    check_panel<double>(c, 0, 5, 16);
  });
}

TEST("panel: the same bits for any number of threads, rows in parts") {
  const auto a = seeded<float>(4099 * 70, 1);
  const auto q = seeded<float>(4099 * 32, 2);
  CHECK(same_for_any_threads([&](Context& c) {
    std::vector<float> y(4099 * 32), z(70 * 32);
    std::vector<double> g(32 * 32);
    c.kernels.panel32.multiply(c, a.data(), 70, 4099, 70, q.data(), 32, y.data());
    c.kernels.panel32.multiply_transposed(c, a.data(), 70, 4099, 70, q.data(), 32, z.data());
    c.kernels.panel32.gram(c, q.data(), 4099, 32, g.data());
    c.kernels.panel32.transform(c, y.data(), 4099, 32, z.data());
    y.insert(y.end(), z.begin(), z.end());
    if (c.kernels.panel32.rough_multiply != nullptr) {
      std::vector<float> u(4099 * 32), v(70 * 32);
      c.kernels.panel32.rough_multiply(c, a.data(), 70, 4099, 70, q.data(), 32, u.data());
      c.kernels.panel32.rough_multiply_transposed(c, a.data(), 70, 4099, 70, q.data(), 32, v.data());
      y.insert(y.end(), u.begin(), u.end());
      y.insert(y.end(), v.begin(), v.end());
    }
    for (int64_t i = 0; i < 32; ++i) {
      for (int64_t j = 0; j <= i; ++j) y.push_back(float(g[size_t(i * 32 + j)]));
    }
    return y;
  }));
}
