#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"

using namespace palimpsest;

namespace {

template <typename T>
struct Rows {
  std::vector<T> y, mean, rstd, dx, dw, db;
  bool operator==(const Rows&) const = default;
};

template <typename T>
Rows<T> run_rows(Context& c, int64_t rows, int64_t n, bool centered, const std::vector<T>& x,
                 const std::vector<T>& w, const std::vector<T>& b, const std::vector<T>& dy) {
  Rows<T> r{std::vector<T>(x.size()), std::vector<T>(rows), std::vector<T>(rows),
            std::vector<T>(x.size()), std::vector<T>(n), std::vector<T>(n)};
  const RowNormArgs args{dtype_of<T>, rows, n, centered, 1e-5, x.data(), w.data(), b.data(),
                         r.y.data(), centered ? r.mean.data() : nullptr, r.rstd.data()};
  CHECK(c.kernels.norm.rows(c, args).ok());
  CHECK(c.kernels.norm.rows_backward(c, {args, dy.data(), r.dx.data(), r.dw.data(), r.db.data()}).ok());
  return r;
}

template <typename T>
void check_rows(Context& c, int64_t rows, int64_t n, bool centered, double tolerance) {
  const auto x = numbers<T>(rows * n, 1.7, 2), dy = numbers<T>(rows * n, 0.9, 2);
  const auto w = numbers<T>(n, 0.4, 2), b = numbers<T>(n, 2.1, 2);
  const Rows<T> r = run_rows(c, rows, n, centered, x, w, b, dy);
  std::vector<double> dw(n), db(n);
  for (int64_t i = 0; i < rows; ++i) {
    double mean = 0, square = 0, shift = 0, dot = 0;
    for (int64_t j = 0; centered && j < n; ++j) mean += double(x[i * n + j]) / double(n);
    for (int64_t j = 0; j < n; ++j) square += std::pow(x[i * n + j] - mean, 2) / double(n);
    const double rstd = 1 / std::sqrt(square + 1e-5);
    for (int64_t j = 0; j < n; ++j) {
      const double h = double(dy[i * n + j]) * w[j], normal = (x[i * n + j] - mean) * rstd;
      if (centered) shift += h / double(n);
      dot += h * normal / double(n);
      dw[j] += dy[i * n + j] * normal;
      db[j] += dy[i * n + j];
    }
    for (int64_t j = 0; j < n; ++j) {
      const double normal = (x[i * n + j] - mean) * rstd;
      CHECK_NEAR(r.y[i * n + j], normal * w[j] + b[j], tolerance * 8);
      const double dx = rstd * (double(dy[i * n + j]) * w[j] - shift - normal * dot);
      CHECK_NEAR(r.dx[i * n + j], dx, tolerance * (8 + 20 * rstd));
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    CHECK_NEAR(r.dw[j], dw[j], tolerance * 20 * double(rows));
    CHECK_NEAR(r.db[j], db[j], tolerance * 20 * double(rows));
  }
}

template <typename T>
struct Batch {
  std::vector<T> y, mean, variance, dx, dw, db;
  bool operator==(const Batch&) const = default;
};

template <typename T>
Batch<T> run_batch(Context& c, int64_t n, int64_t channels, int64_t inner, bool batch) {
  const auto size = n * channels * inner;
  const auto x = numbers<T>(size, 1.7, 2), dy = numbers<T>(size, 0.9, 2), w = numbers<T>(channels, 0.4, 2),
             b = numbers<T>(channels, 2.1, 2);
  Batch<T> r{std::vector<T>(size), std::vector<T>(channels), std::vector<T>(channels),
             std::vector<T>(size), std::vector<T>(channels), std::vector<T>(channels)};
  for (int64_t j = 0; j < channels; ++j) {
    r.mean[j] = static_cast<T>(0.1 * double(j));
    r.variance[j] = static_cast<T>(1 + 0.2 * double(j));
  }
  const BatchNormArgs args{dtype_of<T>, n, channels, inner, batch, 1e-5, x.data(), w.data(), b.data(),
                           r.y.data(), r.mean.data(), r.variance.data()};
  CHECK(c.kernels.norm.batch(c, args).ok());
  CHECK(c.kernels.norm.batch_backward(c, {args, dy.data(), r.dx.data(), r.dw.data(), r.db.data()}).ok());
  return r;
}

template <typename T>
void check_batch(Context& c, int64_t n, int64_t channels, int64_t inner, bool batch, double tolerance) {
  const auto size = n * channels * inner;
  const auto x = numbers<T>(size, 1.7, 2), dy = numbers<T>(size, 0.9, 2), w = numbers<T>(channels, 0.4, 2),
             b = numbers<T>(channels, 2.1, 2);
  const Batch<T> r = run_batch<T>(c, n, channels, inner, batch);
  const double count = double(n * inner);
  for (int64_t k = 0; k < channels; ++k) {
    const auto each = [&](const auto& body) {
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < inner; ++j) body((i * channels + k) * inner + j);
      }
    };
    double mean = 0, variance = 0, dot = 0, total = 0;
    each([&](int64_t i) { mean += x[i] / count; });
    each([&](int64_t i) { variance += std::pow(x[i] - mean, 2) / count; });
    if (!batch) {
      mean = static_cast<T>(0.1 * double(k));
      variance = static_cast<T>(1 + 0.2 * double(k));
    }
    CHECK_NEAR(r.mean[k], mean, tolerance * 4);
    CHECK_NEAR(r.variance[k], variance, tolerance * 8);
    const double rstd = 1 / std::sqrt(variance + 1e-5);
    each([&](int64_t i) {
      total += dy[i];
      dot += dy[i] * (x[i] - mean) * rstd;
    });
    CHECK_NEAR(r.db[k], total, tolerance * 4 * count);
    CHECK_NEAR(r.dw[k], dot, tolerance * 8 * count);
    each([&](int64_t i) {
      const double normal = (x[i] - mean) * rstd;
      CHECK_NEAR(r.y[i], normal * w[k] + b[k], tolerance * 16);
      const double through = batch ? total / count + normal * dot / count : 0.0;
      CHECK_NEAR(r.dx[i], w[k] * rstd * (dy[i] - through), tolerance * 32);
    });
  }
}

}  // namespace

TEST("norm: layer norm and RMS norm agree with float64") {
  at_every_level([](Context& c) {
    for (int64_t width : {1, 5, 32, 101, 768}) {
      for (bool centered : {false, true}) {
        if (centered && width == 1) continue;
        check_rows<float>(c, 7, width, centered, 2e-6);
        check_rows<double>(c, 7, width, centered, 1e-14);
      }
    }
  });
}

TEST("norm: batch norm agrees with float64") {
  at_every_level([](Context& c) {
    for (int64_t inner : {1, 3, 8, 49}) {
      for (int64_t channels : {1, 5, 40}) {
        for (bool batch : {false, true}) {
          check_batch<float>(c, 9, channels, inner, batch, 2e-6);
          check_batch<double>(c, 9, channels, inner, batch, 1e-14);
        }
      }
    }
  });
}

TEST("norm: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) {
    return run_rows<float>(c, 300, 130, true, numbers<float>(300 * 130, 1.7, 2), numbers<float>(130, 0.4, 2),
                           numbers<float>(130, 2.1, 2), numbers<float>(300 * 130, 0.9, 2));
  }));
  CHECK(same_for_any_threads([](Context& c) { return run_batch<float>(c, 33, 70, 1, true); }));
  CHECK(same_for_any_threads([](Context& c) { return run_batch<float>(c, 9, 17, 25, true); }));
}
