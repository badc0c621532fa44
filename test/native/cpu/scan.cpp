#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"

using namespace palimpsest;

namespace {

struct Sizes {
  int64_t batch, time, channels, states;
};

template <typename T>
struct Scan {
  std::vector<T> y, du, ddelta, da, db, dc, dd;
  bool operator==(const Scan&) const = default;
};

template <typename T>
Scan<T> run_scan(Context& c, const Sizes& s) {
  const int64_t n = s.batch * s.time * s.channels, m = s.batch * s.time * s.states;
  const auto u = numbers<T>(n, 1.7), delta = numbers<T>(n, 0.9, 0.3, 0.4), dy = numbers<T>(n, 2.3);
  const auto a = numbers<T>(s.channels * s.states, 0.5, 0.5, -0.8), b = numbers<T>(m, 1.1),
             cc = numbers<T>(m, 0.6), d = numbers<T>(s.channels, 0.2);
  std::vector<T> kept(s.batch * scan_chunks(s.time) * s.channels * s.states);
  Scan<T> r{std::vector<T>(n), std::vector<T>(n), std::vector<T>(n), std::vector<T>(a.size()),
            std::vector<T>(m), std::vector<T>(m), std::vector<T>(s.channels)};
  const SelectiveScanArgs args{dtype_of<T>, s.batch, s.time, s.channels, s.states, u.data(),
                               delta.data(), a.data(), b.data(), cc.data(), d.data(), r.y.data(),
                               kept.data()};
  CHECK(c.kernels.scan.selective(c, args).ok());
  CHECK(c.kernels.scan
            .selective_backward(c, {args, dy.data(), r.du.data(), r.ddelta.data(), r.da.data(),
                                    r.db.data(), r.dc.data(), r.dd.data()})
            .ok());
  return r;
}

// The recurrence and its chain rule with every state in memory.
Scan<double> scan_reference(const Sizes& s) {
  const int64_t n = s.batch * s.time * s.channels, m = s.batch * s.time * s.states;
  const auto u = numbers<double>(n, 1.7), delta = numbers<double>(n, 0.9, 0.3, 0.4), dy = numbers<double>(n, 2.3);
  const auto a = numbers<double>(s.channels * s.states, 0.5, 0.5, -0.8), b = numbers<double>(m, 1.1),
             c = numbers<double>(m, 0.6), d = numbers<double>(s.channels, 0.2);
  Scan<double> r{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n),
                 std::vector<double>(a.size()), std::vector<double>(m), std::vector<double>(m),
                 std::vector<double>(s.channels)};
  for (int64_t batch = 0; batch < s.batch; ++batch) {
    for (int64_t k = 0; k < s.channels; ++k) {
      for (int64_t i = 0; i < s.states; ++i) {
        std::vector<double> h(s.time + 1);
        const double rate = a[k * s.states + i];
        for (int64_t t = 0; t < s.time; ++t) {
          const int64_t row = batch * s.time + t, at = row * s.channels + k;
          h[t + 1] = std::exp(delta[at] * rate) * h[t] + delta[at] * u[at] * b[row * s.states + i];
          r.y[at] += c[row * s.states + i] * h[t + 1];
        }
        double g = 0;
        for (int64_t t = s.time - 1; t >= 0; --t) {
          const int64_t row = batch * s.time + t, at = row * s.channels + k, j = row * s.states + i;
          const double decay = std::exp(delta[at] * rate);
          g += c[j] * dy[at];
          r.dc[j] += dy[at] * h[t + 1];
          r.db[j] += g * delta[at] * u[at];
          r.du[at] += g * delta[at] * b[j];
          r.ddelta[at] += g * (rate * decay * h[t] + u[at] * b[j]);
          r.da[k * s.states + i] += g * delta[at] * decay * h[t];
          g *= decay;
        }
      }
      for (int64_t t = 0; t < s.time; ++t) {
        const int64_t at = (batch * s.time + t) * s.channels + k;
        r.y[at] += d[k] * u[at];
        r.du[at] += d[k] * dy[at];
        r.dd[k] += dy[at] * u[at];
      }
    }
  }
  return r;
}

template <typename T>
void compare(const Scan<T>& r, const Scan<double>& expected, double tolerance) {
  CHECK_NEAR(difference(r.y, expected.y), 0, tolerance);
  CHECK_NEAR(difference(r.du, expected.du), 0, tolerance);
  CHECK_NEAR(difference(r.ddelta, expected.ddelta), 0, tolerance * 4);
  CHECK_NEAR(difference(r.da, expected.da), 0, tolerance * 16);
  CHECK_NEAR(difference(r.db, expected.db), 0, tolerance * 16);
  CHECK_NEAR(difference(r.dc, expected.dc), 0, tolerance * 16);
  CHECK_NEAR(difference(r.dd, expected.dd), 0, tolerance * 16);
}

template <typename T>
struct Conv {
  std::vector<T> y, dx, dw, db;
  bool operator==(const Conv&) const = default;
};

template <typename T>
Conv<T> run_conv(Context& c, int64_t batch, int64_t time, int64_t channels, int64_t taps) {
  const int64_t n = batch * time * channels;
  const auto x = numbers<T>(n, 1.7), dy = numbers<T>(n, 0.9), w = numbers<T>(channels * taps, 0.4),
             b = numbers<T>(channels, 2.1);
  Conv<T> r{std::vector<T>(n), std::vector<T>(n), std::vector<T>(w.size()), std::vector<T>(channels)};
  const CausalConvArgs args{dtype_of<T>, batch, time, channels, taps, x.data(), w.data(), b.data(), r.y.data()};
  CHECK(c.kernels.scan.causal_conv(c, args).ok());
  CHECK(c.kernels.scan.causal_conv_backward(c, {args, dy.data(), r.dx.data(), r.dw.data(), r.db.data()}).ok());
  return r;
}

Conv<double> conv_reference(int64_t batch, int64_t time, int64_t channels, int64_t taps) {
  const int64_t n = batch * time * channels;
  const auto x = numbers<double>(n, 1.7), dy = numbers<double>(n, 0.9), w = numbers<double>(channels * taps, 0.4),
             b = numbers<double>(channels, 2.1);
  Conv<double> r{std::vector<double>(n), std::vector<double>(n), std::vector<double>(w.size()),
                 std::vector<double>(channels)};
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = i % channels, t = i / channels % time;
    r.y[i] += b[k];
    r.db[k] += dy[i];
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t back = taps - 1 - tap;
      if (t < back) continue;
      r.y[i] += w[k * taps + tap] * x[i - back * channels];
      r.dx[i - back * channels] += w[k * taps + tap] * dy[i];
      r.dw[k * taps + tap] += dy[i] * x[i - back * channels];
    }
  }
  return r;
}

}  // namespace

TEST("scan: the selective scan and its gradients agree with float64") {
  for (const Sizes& s : {Sizes{1, 1, 1, 1}, Sizes{2, 33, 5, 3}, Sizes{2, 70, 70, 16}, Sizes{1, 20, 3, 37}}) {
    const Scan<double> expected = scan_reference(s);
    at_every_level([&](Context& c) {
      compare(run_scan<float>(c, s), expected, 3e-5);
      compare(run_scan<double>(c, s), expected, 1e-13);
    });
  }
}

TEST("scan: the causal convolution and its gradients agree with float64") {
  for (int64_t taps : {1, 4, 9}) {
    const Conv<double> expected = conv_reference(2, 6, 70, taps);
    at_every_level([&](Context& c) {
      const auto f32 = run_conv<float>(c, 2, 6, 70, taps);
      const auto f64 = run_conv<double>(c, 2, 6, 70, taps);
      CHECK_NEAR(difference(f32.y, expected.y), 0, 1e-5);
      CHECK_NEAR(difference(f32.dx, expected.dx), 0, 1e-5);
      CHECK_NEAR(difference(f32.dw, expected.dw), 0, 1e-5);
      CHECK_NEAR(difference(f32.db, expected.db), 0, 1e-5);
      CHECK_NEAR(difference(f64.y, expected.y), 0, 1e-14);
      CHECK_NEAR(difference(f64.dx, expected.dx), 0, 1e-14);
      CHECK_NEAR(difference(f64.dw, expected.dw), 0, 1e-13);
      CHECK_NEAR(difference(f64.db, expected.db), 0, 1e-13);
    });
  }
}

TEST("scan: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) { return run_scan<float>(c, {3, 40, 150, 16}); }));
  CHECK(same_for_any_threads([](Context& c) { return run_conv<float>(c, 3, 20, 150, 4); }));
}
