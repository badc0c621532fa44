#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

template <typename T>
void check_rows(Context& c, int64_t rows, int64_t width, double tolerance, bool weighted) {
  const int64_t n = rows * width;
  std::vector<T> x(n), y(n), log_y(n), loss(rows), norm(rows), dx(n);
  std::vector<int32_t> targets(rows);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(std::sin(static_cast<double>(i) * 1.7) * 20);
  for (int64_t r = 0; r < rows; ++r) targets[r] = static_cast<int32_t>(r % width);
  const DType dtype = dtype_of<T>;
  CHECK(c.kernels.nn.softmax(c, {dtype, rows, width, false, x.data(), y.data()}).ok());
  CHECK(c.kernels.nn.softmax(c, {dtype, rows, width, true, x.data(), log_y.data()}).ok());
  std::vector<T> w(width, 1);
  for (int64_t j = 0; weighted && j < width; ++j) w[j] = static_cast<T>(1 + 0.5 * std::cos(double(j)));
  const CrossEntropyArgs forward{dtype, rows, width, x.data(), targets.data(),
                                 weighted ? w.data() : nullptr, 0.1, -100, loss.data(), norm.data()};
  CHECK(c.kernels.nn.cross_entropy(c, forward).ok());
  const T scale = 1;
  CHECK(c.kernels.nn.cross_entropy_backward(c, {forward, &scale, 0, dx.data()}).ok());
  const auto classes = static_cast<double>(width);
  for (int64_t r = 0; r < rows; ++r) {
    double top = -1e300, sum = 0, uniform = 0, all = 0;
    for (int64_t j = 0; j < width; ++j) top = std::max(top, double(x[r * width + j]));
    for (int64_t j = 0; j < width; ++j) sum += std::exp(x[r * width + j] - top);
    const double lse = top + std::log(sum);
    for (int64_t j = 0; j < width; ++j) uniform += w[j] * (lse - x[r * width + j]) / classes;
    for (int64_t j = 0; j < width; ++j) all += w[j] / classes;
    const double own = 0.9 * w[targets[r]];
    CHECK_NEAR(loss[r], own * (lse - x[r * width + targets[r]]) + 0.1 * uniform, tolerance * 40);
    for (int64_t j = 0; j < width; ++j) {
      const double p = std::exp(x[r * width + j] - lse);
      CHECK_NEAR(y[r * width + j], p, tolerance);
      CHECK_NEAR(log_y[r * width + j], x[r * width + j] - lse, tolerance * 40);
      const double slope = (own + 0.1 * all) * p - 0.1 / classes * w[j] - (j == targets[r] ? own : 0);
      CHECK_NEAR(dx[r * width + j], slope, tolerance * 4);
    }
  }
}

}  // namespace

TEST("nn: softmax and cross-entropy agree with float64") {
  at_every_level([](Context& c) {
    for (int64_t width : {1, 3, 10, 32, 101, 1000}) {
      for (bool weighted : {false, true}) {
        check_rows<float>(c, 7, width, 2e-6, weighted);
        check_rows<double>(c, 7, width, 1e-14, weighted);
      }
    }
  });
}

TEST("nn: a target out of range is refused, an ignored one counts nothing") {
  at_every_level([](Context& c) {
    const float x[] = {1, 2, 3, 4};
    int32_t targets[] = {-100, 1};
    float loss[2], norm[2];
    const CrossEntropyArgs args{DType::f32, 2, 2, x, targets, nullptr, 0, -100, loss, norm};
    CHECK(c.kernels.nn.cross_entropy(c, args).ok());
    CHECK(loss[0] == 0 && loss[1] > 0);
    targets[1] = 2;
    CHECK(c.kernels.nn.cross_entropy(c, args).code() == Code::argument);
  });
}
