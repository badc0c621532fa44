#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

constexpr int64_t kTime = 9, kCount = 1100;

template <typename T>
struct Result {
  std::vector<T> potentials, spikes, state, dx;
  bool operator==(const Result&) const = default;
};

template <typename T>
Result<T> run(Context& c, bool hard, Surrogate surrogate, bool detached) {
  std::vector<T> x(kTime * kCount), ds(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    // Multiples of 1/8: potentials are exact in both dtypes, so that spikes agree.
    x[i] = static_cast<T>(std::round(std::sin(double(i) * 1.7) * 12) / 8);
    ds[i] = static_cast<T>(std::cos(double(i)));
  }
  Result<T> r{std::vector<T>(x.size()), std::vector<T>(x.size()), std::vector<T>(kCount, T(0.25)),
              std::vector<T>(x.size())};
  const LifArgs args{dtype_of<T>, kTime, kCount, 0.5, 1, hard, x.data(),
                     r.potentials.data(), r.spikes.data(), r.state.data()};
  CHECK(c.kernels.spiking.lif(c, args).ok());
  CHECK(c.kernels.spiking.lif_backward(c, {args, surrogate, 1.5, detached, ds.data(), r.dx.data()}).ok());
  return r;
}

double slope(Surrogate surrogate, double z, double alpha) {
  switch (surrogate) {
    case Surrogate::atan: return alpha / 2 / (1 + std::pow(std::acos(-1.0) / 2 * alpha * z, 2));
    case Surrogate::sigmoid: {
      const double s = 1 / (1 + std::exp(-alpha * z));
      return alpha * s * (1 - s);
    }
    case Surrogate::fast_sigmoid: return std::pow(1 + alpha * std::fabs(z), -2);
    case Surrogate::rectangle: return std::fabs(z) < alpha / 2 ? 1 / alpha : 0;
  }
  return 0;
}

template <typename T>
void check_run(Context& c, bool hard, Surrogate surrogate, bool detached, double tolerance) {
  const Result<T> r = run<T>(c, hard, surrogate, detached);
  for (int64_t i = 0; i < kCount; ++i) {
    double v = 0.25, u[kTime], s[kTime];
    for (int64_t t = 0; t < kTime; ++t) {
      u[t] = 0.5 * v + std::round(std::sin(double(t * kCount + i) * 1.7) * 12) / 8;
      s[t] = u[t] >= 1 ? 1 : 0;
      v = hard ? u[t] * (1 - s[t]) : u[t] - s[t];
      CHECK_NEAR(r.potentials[t * kCount + i], u[t], 1e-6);
      CHECK(r.spikes[t * kCount + i] == s[t]);
    }
    CHECK_NEAR(r.state[i], v, 1e-6);
    double g = 0;
    for (int64_t t = kTime - 1; t >= 0; --t) {
      const double reset = detached ? 0 : (hard ? u[t] : 1.0);
      const double du = g * (hard ? 1 - s[t] : 1.0) +
                        (std::cos(double(t * kCount + i)) - reset * g) * slope(surrogate, u[t] - 1, 1.5);
      CHECK_NEAR(r.dx[t * kCount + i], du, tolerance);
      g = 0.5 * du;
    }
  }
}

}  // namespace

TEST("spiking: integrate-and-fire and its surrogate gradients agree with float64") {
  at_every_level([](Context& c) {
    for (bool hard : {false, true}) {
      for (Surrogate s : {Surrogate::atan, Surrogate::sigmoid, Surrogate::fast_sigmoid, Surrogate::rectangle}) {
        check_run<float>(c, hard, s, s == Surrogate::atan, 5e-6);
        check_run<double>(c, hard, s, s == Surrogate::sigmoid, 1e-12);
      }
    }
  });
}

TEST("spiking: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, false, Surrogate::sigmoid, false); }));
}
