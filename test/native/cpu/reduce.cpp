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

TEST("reduce: a channel's sum over images in several pieces, and many rows; same bits for any threads") {
  const int64_t n = 70, channels = 3, pixels = 1031;
  const auto x = numbers(n * channels * pixels);
  const View in = contiguous_view(x.data(), {n, channels, pixels});
  const auto run = [&](Context& c, uint32_t axes, std::vector<float>& got) {
    View out = in;
    out.data = got.data();
    int64_t stride = 1;
    for (int i = 2; i >= 0; --i) {
      if ((axes >> i & 1) != 0) out.shape[i] = 1;
      out.strides[i] = stride;
      stride *= out.shape[i];
    }
    return c.kernels.reduce.reduce(c, {Reduction::sum, out, in, axes}).ok();
  };
  at_every_level([&](Context& c) {
    std::vector<float> got(channels);
    CHECK(run(c, 0b101, got));
    for (int64_t j = 0; j < channels; ++j) {
      double truth = 0;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t k = 0; k < pixels; ++k) truth += x[static_cast<size_t>((i * channels + j) * pixels + k)];
      }
      CHECK_NEAR(got[static_cast<size_t>(j)], truth, 1e-4);
    }
  });
  for (const uint32_t axes : {0b101u, 0b011u}) {
    CHECK(same_for_any_threads([&](Context& c) {
      std::vector<float> got(axes == 0b101u ? channels : pixels);
      if (!run(c, axes, got)) got.clear();
      return got;
    }));
  }
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

TEST("reduce: running sums, products and extremes, both ways, along lines, columns and long lines") {
  const auto shape_checks = [](Context& c, std::initializer_list<int64_t> shape, int axis) {
    View in = contiguous_view(static_cast<double*>(nullptr), shape);
    const int64_t n = in.size();
    const auto noise = numbers(n);
    std::vector<double> x(noise.begin(), noise.end());
    if (n < 100) x[5] = std::numeric_limits<double>::quiet_NaN();
    in.data = x.data();
    const int64_t extent = in.shape[axis], stride = in.strides[axis];
    for (const Cumulative op : {Cumulative::sum, Cumulative::prod, Cumulative::max, Cumulative::min}) {
      for (const bool reverse : {false, true}) {
        std::vector<double> y(x.size());
        View out = in;
        out.data = y.data();
        CHECK(c.kernels.reduce.cumulative(c, {op, out, in, axis, reverse}).ok());
        for (int64_t i = 0; i < n; ++i) {
          if (i / stride % extent != 0) continue;
          double total = 0;
          for (int64_t j = 0; j < extent; ++j) {
            const auto at = static_cast<size_t>(i + (reverse ? extent - 1 - j : j) * stride);
            const double v = x[at];
            const bool nan = std::isnan(v) || std::isnan(total);
            switch (op) {
              case Cumulative::sum: total = j == 0 ? v : total + v; break;
              case Cumulative::prod: total = j == 0 ? v : total * v; break;
              case Cumulative::max: total = j == 0 ? v : nan ? NAN : std::max(total, v); break;
              case Cumulative::min: total = j == 0 ? v : nan ? NAN : std::min(total, v); break;
            }
            CHECK(std::isnan(total) ? std::isnan(y[at]) : std::fabs(y[at] - total) < 1e-9);
          }
        }
      }
    }
  };
  at_every_level([&](Context& c) {
    for (int axis = 0; axis < 3; ++axis) shape_checks(c, {3, 4, 5}, axis);
    shape_checks(c, {4, 300}, 0);
    shape_checks(c, {200001}, 0);
    const int32_t x[] = {2147483647, 1, -3};
    int32_t y[3];
    CHECK(c.kernels.reduce
              .cumulative(c, {Cumulative::sum, contiguous_view(y, {3}), contiguous_view(x, {3}), 0, false})
              .ok());
    CHECK(y[1] == INT32_MIN && y[2] == 2147483645);
    CHECK(c.kernels.reduce
              .cumulative(c, {Cumulative::min, contiguous_view(y, {3}), contiguous_view(x, {3}), 0, false})
              .ok());
    CHECK(y[2] == -3);
  });
  const auto noise = numbers(300000);
  CHECK(same_for_any_threads([&](Context& c) {
    std::vector<float> y(noise.size());
    const Status status = c.kernels.reduce.cumulative(
        c, {Cumulative::sum, contiguous_view(y.data(), {300000}), contiguous_view(noise.data(), {300000}), 0, false});
    return status.ok() ? y : std::vector<float>();
  }));
}
