#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

std::vector<float> numbers(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  uint32_t state = 1;
  for (float& v : x) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return x;
}

}  // namespace

TEST("reduce: sums over every set of axes agree with float64") {
  const int64_t shape[] = {5, 70, 131};
  const auto x = numbers(5 * 70 * 131);
  const View in = contiguous_view(x.data(), {5, 70, 131});
  at_every_level([&](Context& c) {
    for (uint32_t axes = 0; axes < 8; ++axes) {
      View out = in;
      int64_t stride = 1;
      for (int i = 2; i >= 0; --i) {
        out.shape[i] = (axes >> i & 1) ? 1 : shape[i];
        out.strides[i] = stride;
        stride *= out.shape[i];
      }
      for (Reduction op : {Reduction::sum, Reduction::mean, Reduction::sum_of_squares,
                           Reduction::sum_of_magnitudes, Reduction::max, Reduction::min}) {
        std::vector<float> got(static_cast<size_t>(stride));
        out.data = got.data();
        CHECK(c.kernels.reduce.reduce(c, {op, out, in, axes}).ok());
        std::vector<double> truth(got.size());
        std::vector<int> count(got.size());
        for (int64_t n = 0; n < 5 * 70 * 131; ++n) {
          const int64_t i = n / (70 * 131), j = n / 131 % 70, k = n % 131;
          const auto at = static_cast<size_t>((axes & 1 ? 0 : i) * out.strides[0] +
                                              (axes & 2 ? 0 : j) * out.strides[1] +
                                              (axes & 4 ? 0 : k) * out.strides[2]);
          const double v = x[static_cast<size_t>(n)];
          const bool first = count[at]++ == 0;
          double& t = truth[at];
          switch (op) {
            case Reduction::max: t = first ? v : std::max(t, v); break;
            case Reduction::min: t = first ? v : std::min(t, v); break;
            case Reduction::sum_of_squares: t += v * v; break;
            case Reduction::sum_of_magnitudes: t += std::fabs(v); break;
            default: t += v;
          }
        }
        for (size_t i = 0; i < got.size(); ++i) {
          if (op == Reduction::mean) truth[i] /= count[i];
          CHECK_NEAR(got[i], truth[i], 1e-5 * (1 + std::fabs(truth[i])));
        }
      }
    }
  });
}

TEST("reduce: strided input, arg reductions, NaN and empty input") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  at_every_level([=](Context& c) {
    const auto reduce = c.kernels.reduce.reduce;
    const float x[] = {1, 7, 7, nan, 2, 0};
    View odd = contiguous_view(x, {3});
    odd.strides[0] = 2;  // 1, 7, 2
    float result = 0;
    const View out = contiguous_view(&result, {1});
    CHECK(reduce(c, {Reduction::sum, out, odd, 1}).ok());
    CHECK(result == 10);
    int32_t index = -1;
    const View at = contiguous_view(&index, {1});
    CHECK(reduce(c, {Reduction::argmax, at, contiguous_view(x, {3}), 1}).ok());
    CHECK(index == 1);
    CHECK(reduce(c, {Reduction::argmin, at, contiguous_view(x, {6}), 1}).ok());
    CHECK(index == 3);
    CHECK(reduce(c, {Reduction::max, out, contiguous_view(x, {6}), 1}).ok());
    CHECK(std::isnan(result));
    CHECK(!reduce(c, {Reduction::max, out, contiguous_view(x, {0}), 1}).ok());
    CHECK(reduce(c, {Reduction::sum, out, contiguous_view(x, {0}), 1}).ok());
    CHECK(result == 0);
    bool finite = true;
    CHECK(c.kernels.reduce.all_finite(c, contiguous_view(x, {6}), finite).ok() && !finite);
    CHECK(c.kernels.reduce.all_finite(c, contiguous_view(x, {3}), finite).ok() && finite);
    float running[3];
    const View run = contiguous_view(running, {3});
    CHECK(c.kernels.reduce.cumulative_sum(c, run, contiguous_view(x, {3}), 0).ok());
    CHECK(running[2] == 15);
  });
}

TEST("reduce: a long sum is accurate and the same for any number of threads") {
  const int64_t n = 3000001;
  const auto x = numbers(n);
  double truth = 0;
  for (float v : x) truth += v;
  const auto run = [&](Context& c) {
    float sum = 0;
    const Status status = c.kernels.reduce.reduce(
        c, {Reduction::sum, contiguous_view(&sum, {1}), contiguous_view(x.data(), {n}), 1});
    return status.ok() ? sum : 1e9f;
  };
  CHECK(same_for_any_threads(run));
  at_every_level([&](Context& c) { CHECK_NEAR(run(c), truth, 0.01); });
}
