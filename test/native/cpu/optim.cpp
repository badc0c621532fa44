#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

std::vector<float> wave(int64_t n, double shift) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(std::sin(static_cast<double>(i) * 1.3 + shift));
  }
  return x;
}

// Sizes around vector widths and the task size; several in one call.
const std::vector<int64_t> kSizes = {0, 1, 17, 1000, 32768, 70001};

}  // namespace

TEST("optim: a list of tensors steps as float64 formulas do, one by one") {
  at_every_level([](Context& c) {
    for (bool amsgrad : {false, true}) {
      std::vector<std::vector<float>> p, g, m, v, top;
      std::vector<AdamWTensor> list;
      for (int64_t n : kSizes) {
        p.push_back(wave(n, 1));
        g.push_back(wave(n, 2));
        m.push_back(wave(n, 3));
        v.push_back(wave(n, 4));
        for (float& x : v.back()) x = std::fabs(x);
        top.push_back(wave(n, 5));
        for (float& x : top.back()) x = std::fabs(x);
      }
      const auto p0 = p, m0 = m, v0 = v, top0 = top;
      for (size_t i = 0; i < kSizes.size(); ++i) {
        list.push_back({kSizes[i], p[i].data(), g[i].data(), m[i].data(), v[i].data(),
                        amsgrad ? top[i].data() : nullptr, static_cast<int64_t>(i) + 1});
      }
      const AdamWArgs args{DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, 0.25, true, false};
      c.kernels.optim.adamw(c, args, list.data(), static_cast<int64_t>(list.size()));
      for (size_t i = 0; i < kSizes.size(); ++i) {
        const double t = static_cast<double>(i) + 1;
        for (int64_t j = 0; j < kSizes[i]; j += 13) {
          const double grad = 0.25 * g[i][j];
          const double m1 = 0.9 * m0[i][j] + 0.1 * grad;
          const double v1 = 0.99 * v0[i][j] + 0.01 * grad * grad;
          const double second = amsgrad ? std::max<double>(top0[i][j], v1) : v1;
          const double step = 0.1 / (1 - std::pow(0.9, t)) * m1 /
                              (std::sqrt(second / (1 - std::pow(0.99, t))) + 1e-3);
          CHECK_NEAR(p[i][j], p0[i][j] * 0.95 - step, 2e-6 * (1 + std::fabs(step)));
          CHECK_NEAR(m[i][j], m1, 1e-6);
          CHECK_NEAR(v[i][j], v1, 1e-6);
        }
      }
    }
  });
}

TEST("optim: SGD and Lion against float64") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      const auto p0 = wave(n, 1), g = wave(n, 2), b0 = wave(n, 3);
      for (bool nesterov : {false, true}) {
        for (int64_t step : {1, 2}) {
          auto p = p0, b = b0;
          const SgdTensor one{n, p.data(), g.data(), b.data(), step};
          c.kernels.optim.sgd(c, {DType::f32, 0.1, 0.9, 0.3, 0.2, 0.5, nesterov, false}, &one, 1);
          for (int64_t j = 0; j < n; j += 7) {
            const double grad = 0.5 * g[j] + 0.2 * p0[j];
            const double buffer = step == 1 ? grad : 0.9 * b0[j] + 0.7 * grad;
            CHECK_NEAR(b[j], buffer, 1e-6);
            CHECK_NEAR(p[j], p0[j] - 0.1 * (nesterov ? grad + 0.9 * buffer : buffer), 1e-6);
          }
        }
      }
      auto p = p0, m = b0;
      const LionTensor one{n, p.data(), g.data(), m.data(), 1};
      c.kernels.optim.lion(c, {DType::f32, 0.1, 0.9, 0.99, 0.2, 1}, &one, 1);
      for (int64_t j = 0; j < n; j += 7) {
        const double u = 0.9 * b0[j] + 0.1 * g[j];
        if (std::fabs(u) > 1e-6) CHECK_NEAR(p[j], 0.98 * p0[j] - (u > 0 ? 0.1 : -0.1), 1e-6);
        CHECK_NEAR(m[j], 0.99 * b0[j] + 0.01 * g[j], 1e-6);
      }
    }
  });
}

TEST("optim: Muon's momentum and the decayed update by rows and columns") {
  at_every_level([](Context& c) {
    const int64_t rows = 5, cols = 37, n = rows * cols;
    const auto g = wave(n, 1), m0 = wave(n, 2), p0 = wave(n, 3), o = wave(n, 4), f = wave(n, 5);
    for (bool nesterov : {false, true}) {
      auto m = m0;
      std::vector<float> u(n);
      const MomentumTensor one{n, g.data(), m.data(), u.data(), 1};
      c.kernels.optim.momentum(c, {DType::f32, 0.9, 0.1, 0.5, nesterov}, &one, 1);
      for (int64_t j = 0; j < n; ++j) {
        const double m1 = 0.9 * m0[j] + 0.05 * g[j];
        CHECK_NEAR(m[j], m1, 1e-6);
        CHECK_NEAR(u[j], nesterov ? 0.05 * g[j] + 0.9 * m1 : m1, 1e-6);
      }
    }
    for (bool cautious : {false, true}) {
      for (int which : {0, 1, 2}) {
        auto p = p0;
        c.kernels.optim.decayed_update(
            c, {rows, cols, p.data(), o.data(), which == 1 ? f.data() : nullptr,
                which == 2 ? f.data() : nullptr, 0.3, 0.1, cautious});
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < cols; ++j) {
            const int64_t k = r * cols + j;
            const double factor = which == 1 ? f[r] : which == 2 ? f[j] : 1;
            const bool decays = !cautious || p0[k] * o[k] > 0;
            CHECK_NEAR(p[k], p0[k] * (decays ? 0.9 : 1) - 0.3 * factor * o[k], 1e-6);
          }
        }
      }
    }
  });
}

TEST("optim: bfloat16 state is rounded without bias, and slow averages arrive") {
  at_every_level([](Context& c) {
    const int64_t n = 4096;
    std::vector<float> p(n, 0), g(n, 0.5f);
    std::vector<BFloat16> m(n, BFloat16{0}), v(n, BFloat16{0});
    for (int64_t step = 1; step <= 3000; ++step) {
      const AdamWTensor one{n, p.data(), g.data(), m.data(), v.data(), nullptr, step};
      c.kernels.optim.adamw(c, {DType::bf16, 0, 0.9, 0.999, 1e-8, 0, 1, true, false}, &one, 1);
    }
    double mean_m = 0, mean_v = 0;
    for (int64_t i = 0; i < n; ++i) {
      mean_m += to_float(m[i]) / n;
      mean_v += to_float(v[i]) / n;
    }
    CHECK_NEAR(mean_m, 0.5, 1e-3);
    CHECK_NEAR(mean_v, 0.25 * (1 - std::pow(0.999, 3000)), 1e-3);
  });
}

TEST("optim: sums of squares tell what is not finite, and never overflow") {
  at_every_level([](Context& c) {
    std::vector<std::vector<float>> g;
    std::vector<GradientTensor> list;
    for (int64_t n : kSizes) g.push_back(wave(n, 1));
    g.push_back({1e30f, -1e30f, 1e-30f});
    g.push_back({1, std::numeric_limits<float>::quiet_NaN()});
    g.push_back({-std::numeric_limits<float>::infinity(), 1});
    for (const auto& x : g) list.push_back({static_cast<int64_t>(x.size()), x.data()});
    std::vector<double> squares(list.size());
    c.kernels.optim.sum_of_squares(c, list.data(), static_cast<int64_t>(list.size()),
                                   squares.data());
    for (size_t i = 0; i < kSizes.size(); ++i) {
      double sum = 0;
      for (float x : g[i]) sum += double(x) * x;
      CHECK_NEAR(squares[i], sum, 1e-12 * (1 + sum));
    }
    CHECK_NEAR(squares[kSizes.size()] / 2e60, 1, 1e-6);
    CHECK(std::isnan(squares[kSizes.size() + 1]));
    CHECK(std::isinf(squares[kSizes.size() + 2]));
  });
}

TEST("optim: the same bits for any number of threads, with bfloat16 state too") {
  CHECK(same_for_any_threads([](Context& c) {
    std::vector<float> all;
    for (DType state : {DType::f32, DType::bf16}) {
      std::vector<std::vector<float>> p, g;
      std::vector<std::vector<uint64_t>> m, v;  // room for either type
      std::vector<AdamWTensor> list;
      for (int64_t n : kSizes) {
        p.push_back(wave(n, 1));
        g.push_back(wave(n, 2));
        m.emplace_back(n);
        v.emplace_back(n);
      }
      for (size_t i = 0; i < kSizes.size(); ++i) {
        list.push_back(
            {kSizes[i], p[i].data(), g[i].data(), m[i].data(), v[i].data(), nullptr, 3});
      }
      const AdamWArgs args{state, 0.1, 0.9, 0.99, 1e-8, 0, 1, true, false};
      for (int k = 0; k < 3; ++k) {
        c.kernels.optim.adamw(c, args, list.data(), static_cast<int64_t>(list.size()));
      }
      for (const auto& x : p) all.insert(all.end(), x.begin(), x.end());
    }
    return all;
  }));
}
