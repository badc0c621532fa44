#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

// The largest error in units in the last place of the true value, over a range.
double worst_ulp(Context& context, Unary op, double (*truth)(double), float low, float high) {
  const int64_t n = 100001;
  std::vector<float> x(n), y(n);
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(low + (high - low) * static_cast<double>(i) / (n - 1));
  }
  const Status status = context.kernels.elementwise.unary(
      context, {op, contiguous_view(y.data(), {n}), contiguous_view(x.data(), {n})});
  if (!status.ok()) return 1e9;
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double exact = truth(x[i]);
    const float rounded = static_cast<float>(exact);
    if (std::isinf(rounded) || rounded == 0) {
      if (rounded != y[i]) worst = std::max(worst, 1e9);
      continue;
    }
    const double ulp = std::nextafter(std::fabs(rounded), INFINITY) - std::fabs(rounded);
    worst = std::max(worst, std::fabs(y[i] - exact) / ulp);
  }
  return worst;
}

float apply(Context& context, Unary op, float x) {
  float y = 0;
  const Status status = context.kernels.elementwise.unary(
      context, {op, contiguous_view(&y, {1}), contiguous_view(&x, {1})});
  return status.ok() ? y : -12345.0f;
}

}  // namespace

TEST("elementwise: elementary functions are near the last place") {
  at_every_level([](Context& c) {
    CHECK(worst_ulp(c, Unary::exp, std::exp, -87, 88.7f) < 2);
    CHECK(worst_ulp(c, Unary::expm1, std::expm1, -20, 20) < 3);
    CHECK(worst_ulp(c, Unary::expm1, std::expm1, -1e-3f, 1e-3f) < 2);
    CHECK(worst_ulp(c, Unary::log, std::log, 1e-30f, 4) < 2);
    CHECK(worst_ulp(c, Unary::log, std::log, 0.5f, 1e30f) < 2);
    CHECK(worst_ulp(c, Unary::log1p, std::log1p, -0.9f, 3) < 3);
    CHECK(worst_ulp(c, Unary::tanh, std::tanh, -10, 10) < 3);
    CHECK(worst_ulp(c, Unary::erf, std::erf, -5, 5) < 3);
    CHECK(worst_ulp(c, Unary::sin, std::sin, -3, 3) < 2);
    CHECK(worst_ulp(c, Unary::cos, std::cos, 0, 1.5f) < 2);
    CHECK(worst_ulp(c, Unary::sqrt, std::sqrt, 0, 100) < 1);
  });
}

TEST("elementwise: GELU and its slope against float64") {
  const int64_t n = 40001;
  std::vector<float> x(n), y(n), slope(n), one(n, 1.0f);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(-20 + 40.0 * static_cast<double>(i) / (n - 1));
  at_every_level([&](Context& c) {
    const auto view = [n](std::vector<float>& v) { return contiguous_view(v.data(), {n}); };
    CHECK(c.kernels.elementwise.unary(c, {Unary::gelu, view(y), view(x)}).ok());
    CHECK(c.kernels.elementwise.binary(c, {Binary::gelu_backward, view(slope), view(one), view(x)}).ok());
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double a = x[i], phi = 0.5 * std::erfc(-a / std::sqrt(2.0));
      const double density = std::exp(-0.5 * a * a) / std::sqrt(2 * M_PI);
      worst = std::max(worst, std::fabs(y[i] - a * phi) / (std::fabs(a) + 1e-30));
      worst = std::max(worst, std::fabs(slope[i] - (phi + a * density)));
      // No cancellation in the lower tail.
      if (a < -2 && a > -12) worst = std::max(worst, 0.05 * std::fabs(y[i] / (a * phi) - 1));
    }
    CHECK(worst < 4e-7);
    CHECK(std::isinf(apply(c, Unary::gelu, INFINITY)) && apply(c, Unary::gelu, 0) == 0);
    CHECK(std::isnan(apply(c, Unary::gelu, NAN)) && std::fabs(apply(c, Unary::gelu, -INFINITY)) < 1e-30f);
  });
}

TEST("elementwise: special values") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  at_every_level([=](Context& c) {
    CHECK(apply(c, Unary::exp, inf) == inf && apply(c, Unary::exp, -inf) == 0);
    CHECK(std::isnan(apply(c, Unary::exp, nan)) && apply(c, Unary::exp, 0) == 1);
    CHECK(apply(c, Unary::log, 0) == -inf && apply(c, Unary::log, inf) == inf);
    CHECK(std::isnan(apply(c, Unary::log, -1)) && apply(c, Unary::log, 1) == 0);
    CHECK(apply(c, Unary::tanh, inf) == 1 && apply(c, Unary::tanh, -inf) == -1);
    CHECK(apply(c, Unary::sigmoid, -inf) == 0 && apply(c, Unary::sigmoid, inf) == 1);
    CHECK(apply(c, Unary::erf, inf) == 1 && std::isnan(apply(c, Unary::erf, nan)));
    CHECK(std::isnan(apply(c, Unary::relu, nan)) && apply(c, Unary::relu, -3) == 0);
    CHECK(std::isnan(apply(c, Unary::sin, inf)));
    CHECK(apply(c, Unary::expm1, -inf) == -1 && apply(c, Unary::expm1, inf) == inf);
    CHECK(apply(c, Unary::softplus, 1000) == 1000 && apply(c, Unary::softplus, -1000) == 0);
    CHECK(apply(c, Unary::is_nan, nan) == 1 && apply(c, Unary::is_finite, inf) == 0);
    float a[] = {nan, 1, 2}, b[] = {1, nan, 5}, out[3];
    const auto view = [](float* p) { return contiguous_view(p, {3}); };
    CHECK(c.kernels.elementwise.binary(c, {Binary::maximum, view(out), view(a), view(b)}).ok());
    CHECK(std::isnan(out[0]) && std::isnan(out[1]) && out[2] == 5);
    CHECK(c.kernels.elementwise.binary(c, {Binary::minimum, view(out), view(a), view(b)}).ok());
    CHECK(std::isnan(out[0]) && std::isnan(out[1]) && out[2] == 2);
  });
}

TEST("elementwise: broadcasting, transposes, dtypes and constants") {
  at_every_level([](Context& c) {
    const int64_t rows = 37, cols = 1111;
    std::vector<float> a(rows * cols), out(rows * cols);
    std::vector<int32_t> b(cols);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 97);
    for (int64_t j = 0; j < cols; ++j) b[j] = static_cast<int32_t>(j);
    const View av = contiguous_view(a.data(), {rows, cols});
    const View ov = contiguous_view(out.data(), {rows, cols});
    View row = contiguous_view(b.data(), {rows, cols});
    row.strides[0] = 0;
    CHECK(c.kernels.elementwise.binary(c, {Binary::add, ov, av, row}).ok());
    bool good = true;
    for (int64_t i = 0; i < rows * cols; ++i) {
      good = good && out[i] == a[i] + static_cast<float>(i % cols);
    }
    CHECK(good);

    std::vector<double> transposed(rows * cols);
    View t = contiguous_view(a.data(), {cols, rows});
    t.strides[0] = 1;
    t.strides[1] = cols;
    const View tv = contiguous_view(transposed.data(), {cols, rows});
    CHECK(c.kernels.elementwise.unary(c, {Unary::copy, tv, t}).ok());
    good = true;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) good = good && transposed[j * rows + i] == a[i * cols + j];
    }
    CHECK(good);

    // 2 − a, into bfloat16; and a comparison into bool.
    std::vector<BFloat16> narrow(rows * cols);
    const View bf16 = contiguous_view(narrow.data(), {rows, cols});
    CHECK(c.kernels.elementwise.binary(c, {Binary::sub, bf16, {}, av, 2}).ok());
    CHECK(to_float(narrow[5]) == -3.0f);
    std::vector<uint8_t> flags(rows * cols);
    View flag = contiguous_view(flags.data(), {rows, cols});
    flag.dtype = DType::boolean;
    CHECK(c.kernels.elementwise.binary(c, {Binary::gt, flag, av, {}, 10.5}).ok());
    CHECK(flags[10] == 0 && flags[11] == 1);
    CHECK(c.kernels.elementwise.where(c, {ov, flag, av, {}, 0, -1}).ok());
    CHECK(out[10] == -1 && out[11] == 11);
  });
}

TEST("elementwise: same bits for any number of threads, and at every level") {
  const int64_t n = 200003;
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = std::sin(static_cast<float>(i)) * 8;
  const auto run = [&](Context& c) {
    std::vector<float> y(n);
    const Status status = c.kernels.elementwise.unary(
        c, {Unary::gelu, contiguous_view(y.data(), {n}), contiguous_view(x.data(), {n})});
    if (!status.ok()) y.clear();
    return y;
  };
  CHECK(same_for_any_threads(run));
  std::vector<float> first;
  at_every_level([&](Context& c) {
    if (first.empty()) first = run(c);
    CHECK(run(c) == first);
  });
}
